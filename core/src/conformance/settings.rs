//! What is tried, and how much it may be off.

/// Tolerances, batches and steps of the kit. All tolerances are relative, dimensionless.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Settings {
    /// What f32 arithmetic in another order may change; for identities that need no differences.
    pub rounding: f32,
    /// Distance between a product and the difference of two gradients, of their mean norm. A
    /// product that is off by a factor of 2 has 0.67, one of the wrong sign 2.
    pub product_differences: f32,
    /// Distance between a slope and the difference of two losses, of the gradient's norm. Along a
    /// direction of length about √2 with the gradient in it, a factor of 2 has about 0.5.
    pub loss_differences: f32,
    /// Directions along which slopes of losses are compared, at least 1; only one without sketches.
    pub directions: u8,
    /// First batch that is asked for; the kit uses this one and the three after it, of both levels.
    pub index: u32,
    /// First draw that is asked for where the problem has sketches; the kit uses successive ones.
    pub sketch: u32,
    /// The longest difference step, as a share of the parameters' norm (of 1 where that is 0).
    pub step: f32,
    /// How many steps are tried, each a quarter of the one before; at least 2.
    pub steps: u8,
    /// Whether the problem's coupling is [`Coupling::General`](crate::Coupling::General), with the
    /// upper variable in `Parameter(UpperBackbone)`. Otherwise nobody asks for its cross products,
    /// and neither does the kit.
    pub cross_product: bool,
}

impl Settings {
    /// For f32 arithmetic, smooth or with rectifiers.
    pub const DEFAULT: Self = Self {
        rounding: 1e-4,
        product_differences: 0.05,
        loss_differences: 0.02,
        directions: 3,
        index: 0,
        sketch: 0,
        step: 0.0625,
        steps: 5,
        cross_product: false,
    };
}

impl Default for Settings {
    fn default() -> Self {
        Self::DEFAULT
    }
}
