//! One optimiser step on one or two groups of parameters.

use crate::machine::{expect_segments, front, machine};
use crate::{
    AdamCoefficients, Group, Optimizer, Pairs, Register, Reply, Request, Ticket, UnexpectedReply,
    clip_factor, lars_ratio,
};

/// What one update found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UpdateReport {
    /// Norm of the whole gradient before clipping. Where it is not finite no parameter has changed.
    pub gradient_norm: f32,
}

/// Clips the total gradient norm, then applies the optimiser's recurrence to each group.
///
/// The gradients are consumed. One reply with scalars, and with LARS one more for each group.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Update {
    settings: UpdateSettings,
    ticket: Ticket,
    state: State,
    factor: f32,
    gradient_norm: f32,
}

/// Everything that determines one update.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct UpdateSettings {
    pub(crate) optimizer: Optimizer,
    pub(crate) clip: Option<f32>,
    pub(crate) rate: f32,
    /// Steps taken before this one; AdamW's bias correction depends on it.
    pub(crate) index: u32,
    /// The head and its gradient; always trained.
    pub(crate) head: (Group, Register),
    /// The backbone and its gradient, unless frozen.
    pub(crate) backbone: Option<(Group, Register)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Part {
    Backbone,
    Head,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Norm,
    /// g ← clip·g + wd·p
    Decay(Part),
    TrustNorms(Part),
    Momentum(Part),
    Parameter(Part),
    Adam(Part),
    Done,
}

impl Update {
    pub(crate) fn new(settings: UpdateSettings) -> Self {
        Self {
            settings,
            ticket: Ticket::default(),
            state: State::Norm,
            factor: 1.0,
            gradient_norm: 0.0,
        }
    }

    fn operand(&self, part: Part) -> (Group, Register) {
        match (part, self.settings.backbone) {
            (Part::Backbone, Some(backbone)) => backbone,
            _ => self.settings.head,
        }
    }

    fn first_state(&self, part: Part) -> State {
        match self.settings.optimizer {
            Optimizer::Adamw { .. } => State::Adam(part),
            Optimizer::Sgd { .. } | Optimizer::Lars { .. } => State::Decay(part),
        }
    }

    fn state_after(&self, part: Part) -> State {
        match part {
            Part::Backbone => self.first_state(Part::Head),
            Part::Head => State::Done,
        }
    }

    /// The pending request; after the end, the last one.
    pub(crate) fn request(&self) -> Request {
        let (momentum, weight_decay) = match self.settings.optimizer {
            Optimizer::Sgd { momentum, weight_decay }
            | Optimizer::Lars { momentum, weight_decay, .. } => (momentum, weight_decay),
            Optimizer::Adamw { beta1, weight_decay, .. } => (beta1, weight_decay),
        };
        match self.state {
            State::Norm | State::Done => {
                let head = self.settings.head.1;
                Request::Dots {
                    pairs: match self.settings.backbone {
                        Some((_, backbone)) => Pairs::new([(backbone, backbone), (head, head)]),
                        None => Pairs::new([(head, head)]),
                    },
                }
            }
            State::Decay(part) => {
                let (group, gradient) = self.operand(part);
                let x = Register::Parameter(group);
                Request::Axpby { a: weight_decay, x, b: self.factor, y: gradient }
            }
            State::TrustNorms(part) => {
                let (group, gradient) = self.operand(part);
                let parameter = Register::Parameter(group);
                Request::SegmentDots {
                    pairs: Pairs::new([(parameter, parameter), (gradient, gradient)]),
                }
            }
            State::Momentum(part) => {
                let (group, gradient) = self.operand(part);
                let y = Register::Momentum(group);
                match self.settings.optimizer {
                    Optimizer::Lars { .. } => Request::SegmentAxpby { x: gradient, b: momentum, y },
                    _ => Request::Axpby { a: 1.0, x: gradient, b: momentum, y },
                }
            }
            State::Parameter(part) => {
                let (group, _) = self.operand(part);
                let (x, y) = (Register::Momentum(group), Register::Parameter(group));
                Request::Axpby { a: -self.settings.rate, x, b: 1.0, y }
            }
            State::Adam(part) => {
                let (group, gradient) = self.operand(part);
                Request::Adam { group, gradient, coefficients: self.adam() }
            }
        }
    }

    fn output(&self) -> Option<UpdateReport> {
        let gradient_norm = self.gradient_norm;
        (self.state == State::Done).then_some(UpdateReport { gradient_norm })
    }

    fn advance(&mut self, reply: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::Norm if self.settings.backbone.is_some() => {
                let [backbone_sq, head_sq] = front(scalars)?;
                self.on_norm(backbone_sq + head_sq)
            }
            State::Norm => {
                let [head_sq] = front(scalars)?;
                self.on_norm(head_sq)
            }
            State::Decay(part) => match self.settings.optimizer {
                Optimizer::Lars { .. } => State::TrustNorms(part),
                Optimizer::Sgd { .. } | Optimizer::Adamw { .. } => State::Momentum(part),
            },
            State::TrustNorms(part) => {
                let segments = expect_segments::<2>(0, reply, scalars)?;
                self.on_trust_norms(part, segments as usize, scalars)
            }
            State::Momentum(part) => State::Parameter(part),
            State::Parameter(part) | State::Adam(part) => self.state_after(part),
            State::Done => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    fn adam(&self) -> AdamCoefficients {
        let (betas, epsilon, weight_decay) = match self.settings.optimizer {
            Optimizer::Adamw { beta1, beta2, epsilon, weight_decay } => {
                ((beta1, beta2), epsilon, weight_decay)
            }
            Optimizer::Sgd { momentum, weight_decay }
            | Optimizer::Lars { momentum, weight_decay, .. } => {
                ((momentum, momentum), 0.0, weight_decay)
            }
        };
        let UpdateSettings { index, rate, .. } = self.settings;
        AdamCoefficients::at(index, rate, self.factor, betas, epsilon, weight_decay)
    }

    fn on_norm(&mut self, squared: f32) -> State {
        self.gradient_norm = libm::sqrtf(squared);
        if !self.gradient_norm.is_finite() {
            return State::Done;
        }
        self.factor = clip_factor(self.gradient_norm, self.settings.clip);
        let part = if self.settings.backbone.is_some() { Part::Backbone } else { Part::Head };
        self.first_state(part)
    }

    /// Replaces the norms of the reply by the ratios of the next request.
    fn on_trust_norms(&self, part: Part, segments: usize, scalars: &mut [f32]) -> State {
        let (parameters, rest) = scalars.split_at_mut(segments.min(scalars.len()));
        if let Optimizer::Lars { trust, .. } = self.settings.optimizer {
            for (ratio, gradient_sq) in parameters.iter_mut().zip(rest) {
                *ratio = lars_ratio(trust, *ratio, *gradient_sq);
            }
        }
        State::Momentum(part)
    }
}

machine!(Update => UpdateReport);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Machine, Pending};

    const SEGMENTS: u32 = 2;

    fn answer(request: &Request) -> Reply {
        match request {
            Request::Dots { pairs } => Reply::Scalars(pairs.as_slice().len() as u32),
            Request::SegmentDots { pairs } => {
                Reply::Scalars(SEGMENTS * pairs.as_slice().len() as u32)
            }
            _ => Reply::Ack,
        }
    }

    fn update(optimizer: Optimizer, frozen: bool) -> Update {
        Update::new(UpdateSettings {
            optimizer,
            clip: Some(1.0),
            rate: 0.1,
            index: 3,
            head: (Group::PretextHead, Register::PretextHeadGradient),
            backbone: (!frozen).then_some((Group::LowerBackbone, Register::Residual)),
        })
    }

    fn optimizers() -> [Optimizer; 3] {
        [
            Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 },
            Optimizer::Lars { momentum: 0.9, weight_decay: 0.0, trust: 0.001 },
            Optimizer::Adamw { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.0 },
        ]
    }

    fn refused(machine: &Update, ticket: Ticket, reply: Reply) -> UnexpectedReply {
        let (mut tried, mut scalars) = (*machine, [2.0; 4]);
        let error = tried.step(ticket, reply, &mut scalars).unwrap_err();
        assert_eq!((tried, scalars), (*machine, [2.0; 4]));
        error
    }

    /// The rest of the protocol is tested from outside, through the machines that hold an `Update`;
    /// tickets and the end are its own.
    #[test]
    fn wrong_tickets_and_replies_after_the_end_are_refused() {
        for (optimizer, frozen) in optimizers().into_iter().flat_map(|o| [(o, false), (o, true)]) {
            let mut machine = update(optimizer, frozen);
            let mut last = Ticket::default();
            let mut requests = 0;
            while let Pending::Request(ticket, request) = machine.pending() {
                assert!(requests == 0 || ticket == last.next());
                let (found, reply) = (ticket.next(), answer(&request));
                let expected = UnexpectedReply::WrongTicket { expected: ticket, found };
                assert_eq!(refused(&machine, found, reply), expected);
                machine.step(ticket, reply, &mut [2.0; 4]).unwrap();
                (last, requests) = (ticket, requests + 1);
                assert!(requests < 20);
            }
            assert!(matches!(machine.pending(), Pending::Done(_)));
            for ticket in [last, last.next()] {
                assert_eq!(refused(&machine, ticket, Reply::Ack), UnexpectedReply::Ended);
            }
        }
    }
}
