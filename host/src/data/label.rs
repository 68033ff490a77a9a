//! What images are labelled with: nothing, a class, or the set of classes that they show.

/// What one item is labelled with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Label {
    /// Nothing.
    #[default]
    Unlabelled,
    /// One class.
    Class(u32),
    /// Any number of classes. Boxed, because lists of a million images hold none.
    Set(Box<LabelSet>),
}

/// The classes of one image, each list in ascending order and without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSet {
    /// Classes that the image shows.
    pub present: Vec<u32>,
    /// Classes of which it shows difficult objects alone: they count neither for nor against.
    pub difficult: Vec<u32>,
}

impl LabelSet {
    /// A set from classes in any order; a class that is present is not difficult.
    pub fn new(mut present: Vec<u32>, mut difficult: Vec<u32>) -> Self {
        for classes in [&mut present, &mut difficult] {
            classes.sort_unstable();
            classes.dedup();
        }
        difficult.retain(|class| present.binary_search(class).is_err());
        Self { present, difficult }
    }
}

impl Label {
    /// The classes that the item shows.
    pub(crate) fn present(&self) -> &[u32] {
        match self {
            Self::Unlabelled => &[],
            Self::Class(class) => std::slice::from_ref(class),
            Self::Set(set) => &set.present,
        }
    }
}

impl From<Option<u32>> for Label {
    fn from(class: Option<u32>) -> Self {
        class.map_or(Self::Unlabelled, Self::Class)
    }
}

/// What a data set's labels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// There are none.
    Unlabelled,
    /// One class an image.
    SingleLabel,
    /// Any number of classes an image.
    MultiLabel,
}

/// Labels of several items, all of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// One class each.
    Classes(Vec<u32>),
    /// A set of classes each.
    Sets(Vec<LabelSet>),
}

/// Whether an item shows a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Present,
    /// It does not.
    Absent,
    /// Only difficult objects of it: not counted.
    Difficult,
}

impl Targets {
    /// Number of items.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Sets(sets) => sets.len(),
        }
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The classes that item `item < len()` shows.
    pub fn present(&self, item: usize) -> &[u32] {
        match self {
            Self::Classes(classes) => std::slice::from_ref(&classes[item]),
            Self::Sets(sets) => &sets[item].present,
        }
    }

    /// Whether item `item < len()` shows `class`.
    pub fn presence(&self, item: usize, class: u32) -> Presence {
        let found = |is: bool| if is { Presence::Present } else { Presence::Absent };
        match self {
            Self::Classes(classes) => found(classes[item] == class),
            Self::Sets(sets) if sets[item].difficult.contains(&class) => Presence::Difficult,
            Self::Sets(sets) => found(sets[item].present.contains(&class)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_is_present_is_not_difficult() {
        let set = LabelSet::new(vec![3, 1, 3], vec![1, 2, 2]);
        assert_eq!(set, LabelSet { present: vec![1, 3], difficult: vec![2] });
        let targets = Targets::Sets(vec![set]);
        let found: Vec<Presence> = (0..4).map(|class| targets.presence(0, class)).collect();
        use Presence::{Absent, Difficult, Present};
        assert_eq!(found, [Absent, Present, Difficult, Present]);
    }
}
