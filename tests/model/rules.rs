//! The rules that the search can take out, to show what each is there for.

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A peer is dead when its addresses are silent and a witness answers, not when nobody answers for the virtual IP.
    Evidence,
    /// A node that gives up releases in order and stops the cluster manager after that.
    ReleaseBeforeKill,
    /// An agent steps into the place of a dead peer only when both had the same data when that was last seen to live.
    InStep,
    /// DRBD's handler calls a peer dead when its silence has lasted for as long as a takeover asks for.
    HandlerWaits,
    /// A node that was paused for long neither takes over nor goes on alone on the silence of its peer, until DRBD has
    /// connected again: the peer may have gone on without it.
    KnowsItWasHeld,
    /// The same for a node that heard neither its peer nor a witness.
    KnowsItWasCutOff,
}

/// Which rules are followed.
#[derive(Debug, Clone)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// All of them, as shipped.
    pub(crate) fn all() -> Self {
        use Rule::{Evidence, HandlerWaits, InStep, KnowsItWasCutOff, KnowsItWasHeld, ReleaseBeforeKill};
        Self(vec![Evidence, ReleaseBeforeKill, InStep, HandlerWaits, KnowsItWasHeld, KnowsItWasCutOff])
    }

    /// Without one.
    pub(crate) fn without(mut self, rule: Rule) -> Self {
        self.0.retain(|kept| *kept != rule);
        self
    }

    pub(crate) fn has(&self, rule: Rule) -> bool {
        self.0.contains(&rule)
    }
}
