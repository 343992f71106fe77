//! One round: the faults strike and are mended in their time, then somebody serves, or the nodes are asked why not.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::fault::{self, cannot_be_reached, first_line};
use super::report::{End, Outcome};
use super::rules::{Said, justify};
use super::schedule::{Fault, Planned, Round, Side};
use super::{Run, Under};
use crate::node::Node;

/// How long rows must have come without a break.
pub(super) const STEADY: Duration = Duration::from_secs(3);
/// Between two looks at what goes on.
const LOOK: Duration = Duration::from_millis(200);
/// How long a person lets an outage last before looking into it, and between two tries.
const NOTICE: Duration = Duration::from_secs(4);
/// For a command of standin that a person types while things are broken.
const TYPED: Duration = Duration::from_secs(45);

/// What the agent has decided of late.
const TOLD_BY_AGENT: &str = "journalctl --unit=standin-agent@r0 --output=cat --lines=2 --no-pager";

/// One fault, where it strikes.
struct Strike<'a> {
    planned: Planned,
    node: &'a Node,
    mended: bool,
    told: Option<String>,
}

impl<'a> Run<'a> {
    pub(super) fn play(&mut self, round: &Round) -> Result<()> {
        let Some(active) = self.serving() else { bail!("nobody serves before a round") };
        self.journals = self.lab.on_both(|node| Ok(self.cluster.journal(node)?.len()))?;
        std::thread::sleep(round.pause);
        let begin = Instant::now();
        let mut strikes: Vec<Strike<'a>> = round
            .planned
            .iter()
            .map(|planned| {
                let node = if planned.on == Side::Active { active } else { self.lab.peer(active) };
                Strike { planned: *planned, node, mended: false, told: None }
            })
            .collect();
        let at = self.begun.elapsed();
        let number = self.outcomes.iter().map(|outcome| outcome.faults.len()).sum::<usize>();
        let result = self.strike_and_settle(&mut strikes, begin, active);
        let faults: Vec<String> = strikes.iter().map(|strike| describe(strike)).collect();
        let outage = self.watch.outage(begin);
        let (end, failed) = match result {
            Ok(end) => (end, None),
            Err(error) => (End::Failed(format!("{error:#}")), Some(error)),
        };
        let overlaps = self.watch.overlaps(begin);
        let mut outcome = Outcome {
            number: number + 1,
            at,
            faults,
            outage,
            end,
            overlaps,
            operator: Vec::new(),
            acknowledged: 0,
        };
        let broken = outcome.overlaps.iter().find(|overlap| overlap.is_violation()).map(ToString::to_string);
        let result = match (failed, broken) {
            (Some(error), _) => Err(error),
            (None, Some(broken)) => Err(anyhow::anyhow!("BOTH NODES ACCEPTED WRITES: {broken}")),
            (None, None) => self.make_whole(&mut outcome.operator).and_then(|node| {
                outcome.acknowledged = self.check_rows(node)?;
                Ok(())
            }),
        };
        // What the person's help has brought about is judged, too.
        outcome.overlaps = self.watch.overlaps(begin);
        let broken = outcome.overlaps.iter().find(|overlap| overlap.is_violation()).map(ToString::to_string);
        if let Err(error) = &result {
            outcome.end = End::Failed(format!("{error:#}"));
        }
        self.say(&outcome.to_string());
        self.outcomes.push(outcome);
        result?;
        ensure!(broken.is_none(), "BOTH NODES ACCEPTED WRITES: {}", broken.unwrap_or_default());
        Ok(())
    }

    fn strike_and_settle(
        &mut self,
        strikes: &mut [Strike<'a>],
        begin: Instant,
        active: &'a Node,
    ) -> Result<End> {
        let mut events: Vec<(Duration, bool, usize)> = Vec::new();
        for (index, strike) in strikes.iter().enumerate() {
            events.push((strike.planned.begin, false, index));
            events.push((strike.planned.end(), true, index));
        }
        events.sort();
        for (at, mends, index) in events {
            while begin.elapsed() < at {
                self.attend(strikes);
                std::thread::sleep(LOOK.min(at.saturating_sub(begin.elapsed())));
            }
            let strike = &mut strikes[index];
            if mends {
                // What can't be mended yet is tried again while the pair settles.
                strike.mended = self.mend(strike.node, strike.planned.fault).is_ok();
            } else {
                let Planned { fault, begin, .. } = strike.planned;
                strike.told = fault::strike(self.lab, &*self.manager, strike.node, fault, begin.is_zero())?;
                if strike.planned.fault == Fault::KillManager {
                    self.to_restart[usize::from(strike.node.number()) - 1] = true;
                }
            }
        }
        self.settle(strikes, active)
    }

    fn mend(&mut self, node: &Node, fault: Fault) -> Result<()> {
        fault::mend(self.lab, node, fault)?;
        if fault == Fault::PowerCut {
            self.watch.sampler().wait_for(node)?;
        }
        Ok(())
    }

    /// Waits until somebody serves; when nobody does in time, asks the nodes why.
    fn settle(&mut self, strikes: &mut [Strike<'a>], active: &Node) -> Result<End> {
        let begin = Instant::now();
        let limit = self.options.under.patience();
        // Rows must have come after the last repair, and for so long that a failure that was on its way is over.
        let least = STEADY + LOOK;
        loop {
            for strike in strikes.iter_mut().filter(|strike| !strike.mended) {
                strike.mended = self.mend(strike.node, strike.planned.fault).is_ok();
            }
            self.restart_managers();
            if let Some(node) = self.serving()
                && begin.elapsed() >= least
            {
                return Ok(End::Service { node: node.name(), moved: node.number() != active.number() });
            }
            if begin.elapsed() >= limit {
                break;
            }
            self.attend(strikes);
            std::thread::sleep(LOOK);
        }
        match justify(&self.said()) {
            Ok(reasons) => Ok(End::Refused(reasons)),
            Err(missing) => bail!("nobody serves {limit:?} after the last repair, and {missing}"),
        }
    }

    /// Starts the manager again where it was killed or where the node has booted.
    pub(super) fn restart_managers(&mut self) {
        for (index, node) in self.lab.nodes().into_iter().enumerate() {
            if let Ok(boot) = super::boot_of(node)
                && boot != self.boots[index]
            {
                self.boots[index] = boot;
                self.to_restart[index] = true;
            }
            if self.to_restart[index] && !cannot_be_reached(node) {
                self.to_restart[index] = false;
                if let Err(error) = self.manager.restart(node) {
                    self.say(&format!("  restart of the manager on {}: {}", node.name(), first_line(&error)));
                }
            }
        }
    }

    /// Why no node serves, in their own words.
    fn said(&self) -> Vec<Said> {
        let words = |node: &Node| -> Vec<String> {
            let mut refusals = Vec::new();
            if let Ok(plan) = node.run_with_deadline("standin plan", TYPED)
                && plan.code == 3
            {
                refusals.push(plan.stderr.trim().to_owned());
            }
            // What was refused or held back last, whoever asked.
            let journal = self.cluster.journal(node).unwrap_or_default();
            let before = self.journals[usize::from(node.number()) - 1];
            let recent = journal.get(before..).unwrap_or_default();
            let last = recent.iter().rev().filter_map(|entry| entry["reason"].as_str()).take(3);
            refusals.extend(last.map(ToOwned::to_owned));
            if self.options.under.has_agents()
                && let Ok(told) = node.run_with_deadline(TOLD_BY_AGENT, TYPED)
            {
                refusals.extend(told.stdout.lines().rev().map(ToOwned::to_owned));
            }
            refusals
        };
        let nodes = self.lab.nodes().into_iter();
        nodes.map(|node| Said { node: node.name(), refusals: words(node) }).collect()
    }

    /// The person who types standin's commands where there is neither a manager nor an agent: after a few seconds without a
    /// row, the node that was active first, then the other one.
    fn attend(&mut self, strikes: &[Strike<'a>]) {
        if self.options.under != Under::ByHand {
            return;
        }
        let silent = self
            .watch
            .client()
            .look(|report| report.acknowledged.last().is_none_or(|(_, at)| at.elapsed() > NOTICE));
        if !silent || self.attended.is_some_and(|at| at.elapsed() < NOTICE) {
            return;
        }
        let hangs = |node: &Node| {
            strikes.iter().any(|strike| {
                strike.node.number() == node.number() && strike.planned.fault == Fault::Hang && !strike.mended
            })
        };
        let reachable: Vec<&Node> =
            self.lab.nodes().into_iter().filter(|node| !hangs(node) && !cannot_be_reached(node)).collect();
        let is_primary = |node: &Node| {
            self.watch.sampler().latest(node.number()).ok().flatten().is_some_and(|look| look.primary)
        };
        let (first, second): (Vec<&Node>, Vec<&Node>) =
            reachable.into_iter().partition(|node| is_primary(node));
        let taken = |node: &Node| {
            let output = node.run_with_deadline("standin takeover --wait 2s", TYPED);
            output.is_ok_and(|output| output.success())
        };
        // One that is Primary and can't be completed gives up, so that the other one may step in.
        let served = first.iter().any(|node| taken(node));
        if !served {
            for node in &first {
                let _ = node.run_with_deadline("standin release", TYPED);
            }
            let _ = second.iter().any(|node| taken(node));
        }
        self.attended = Some(Instant::now());
    }
}

fn describe(strike: &Strike<'_>) -> String {
    let Planned { fault, on, begin, length } = strike.planned;
    let mut text = format!("{fault} on {} ({on})", strike.node.name());
    if !length.is_zero() {
        text += &format!(" for {:.1} s", length.as_secs_f64());
    }
    if !begin.is_zero() {
        text += &format!(", {:.1} s after the first", begin.as_secs_f64());
    }
    if let Some(told) = &strike.told {
        text += &format!(" [{told}]");
    }
    text
}
