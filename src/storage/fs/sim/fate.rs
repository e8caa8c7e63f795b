//! [`Fate`]: what a power loss does with each thing that was not synced.

/// Decides, one question at a time. Equal seeds and equal disks give equal answers.
pub(super) enum Fate {
    /// Only what was synced is there.
    NothingKept,
    /// All that was done is there.
    EverythingKept,
    /// Chance.
    Seeded {
        /// The random generator's state.
        state: u64,
        /// How many eighths of the questions of the current file or directory are answered with "kept".
        eighths: u64,
        /// Whether a directory loses operations only from the end, as with a journal.
        journal: bool,
    },
}

impl Fate {
    /// Chance, from a seed.
    pub(super) fn seeded(seed: u64, journal: bool) -> Self {
        Self::Seeded { state: seed, eighths: 4, journal }
    }

    /// Turns to the next file or directory: most of its changes may be kept, few, all, none.
    pub(super) fn begin(&mut self) {
        let drawn = [0, 1, 4, 7, 8][usize::try_from(self.up_to(4)).expect("at most 4")];
        if let Self::Seeded { eighths, .. } = self {
            *eighths = drawn;
        }
    }

    /// Whether a change is kept.
    pub(super) fn keeps(&mut self) -> bool {
        match self {
            Self::NothingKept => false,
            Self::EverythingKept => true,
            Self::Seeded { state, eighths, .. } => random(state) % 8 < *eighths,
        }
    }

    /// How many of `most` steps are kept.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        match self {
            Self::NothingKept => 0,
            Self::EverythingKept => most,
            Self::Seeded { state, .. } => random(state) % (most + 1),
        }
    }

    /// Whether a directory loses operations only from the end.
    pub(super) fn journal(&self) -> bool {
        !matches!(self, Self::Seeded { journal: false, .. })
    }
}

/// The next number of Sebastiano Vigna's splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
