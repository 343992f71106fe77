//! The person who makes the pair whole again after a round, when it does not become so by itself. All that is done is told.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::fault::{cannot_be_reached, set_clock};
use super::{Run, disk};
use crate::node::Node;

/// After each thing that was done.
const EFFECT: Duration = Duration::from_secs(25);
/// Things that are done before the run is given up.
const TRIES: usize = 8;
/// Makes room on a full disk where nobody has it mounted.
const MAKE_ROOM: &str = "drbdsetup primary 0 && mount /dev/drbd0 /var/lib/mysql && rm -f /var/lib/mysql/chaos-filler.*; \
    umount /var/lib/mysql; drbdsetup secondary 0";

impl<'a> Run<'a> {
    /// Returns the node that serves when one does, the other one is in sync and the manager rests.
    pub(super) fn make_whole(&mut self, told: &mut Vec<String>) -> Result<&'a Node> {
        let mut limit = self.options.under.by_itself();
        for _ in 0..TRIES {
            self.restart_managers();
            let waited = self.wait_until_whole(limit);
            if waited.is_ok() {
                let _ = self.lab.on_both(|node| node.run("standin acknowledge").map(drop));
                return self.serving().context("nobody serves any more");
            }
            let done = self.help(told.len())?;
            told.push(done);
            limit = EFFECT;
        }
        self.wait_until_whole(EFFECT)
            .with_context(|| format!("the pair could not be made whole: {}", told.join("; ")))?;
        self.serving().context("nobody serves any more")
    }

    /// Does one thing, and tells what it was.
    fn help(&mut self, tries: usize) -> Result<String> {
        for node in self.lab.nodes() {
            if !node.is_on() {
                node.boot()?;
                self.watch.sampler().wait_for(node)?;
                return Ok(format!("switched {} on", node.name()));
            }
            if cannot_be_reached(node) {
                self.reset(node)?;
                return Ok(format!("reset {}, which did not answer", node.name()));
            }
            set_clock(node)?;
        }
        match self.serving() {
            Some(node) => self.help_the_standby(node, tries),
            None => self.help_to_serve(tries),
        }
    }

    fn help_the_standby(&mut self, serving: &Node, tries: usize) -> Result<String> {
        let other = self.lab.peer(serving);
        let held = self.watch.sampler().latest(other.number())?.is_none_or(|look| look.primary || look.vip);
        if held {
            self.reset(other)?;
            return Ok(format!("reset {}, which still held something", other.name()));
        }
        let (ours, theirs) = (serving.drbd()?, other.drbd()?);
        for (node, drbd) in [(serving, &ours), (other, &theirs)] {
            if drbd.contains("ds:Diskless/") {
                disk::mend(node)?;
                return Ok(format!("drbdadm attach r0 on {}", node.name()));
            }
            if drbd.contains("ds:Failed/") {
                self.reset(node)?;
                return Ok(format!("reset {}, whose disk does not let go", node.name()));
            }
        }
        if ours.contains("cs:Sync") || ours.contains("cs:PausedSync") {
            return Ok("waited for the resync".to_owned());
        }
        if theirs.contains("cs:StandAlone") {
            // The first time it may be a disconnection that was meant; a split brain shows at the next attempt.
            let split =
                tries > 1 && other.run("dmesg | grep -q 'Split-Brain detected but unresolved'")?.success();
            let how = if split { "connect --discard-my-data" } else { "connect" };
            other.run_ok(&format!("drbdadm secondary r0; drbdadm {how} r0"))?;
            if ours.contains("cs:StandAlone") {
                serving.run_ok("drbdadm connect r0")?;
            }
            return Ok(format!("drbdadm {how} r0 on {}", other.name()));
        }
        if ours.contains("cs:StandAlone") {
            serving.run_ok("drbdadm connect r0")?;
            return Ok(format!("drbdadm connect r0 on {}", serving.name()));
        }
        if ours.contains("cs:Connected") && ours.contains("ds:UpToDate/UpToDate") {
            self.to_restart = [true; 2];
            return Ok("started the managers again".to_owned());
        }
        self.reset(other)?;
        Ok(format!("reset {}, after: {}", other.name(), theirs.lines().next().unwrap_or_default().trim()))
    }

    fn help_to_serve(&mut self, tries: usize) -> Result<String> {
        let mut tried = Vec::new();
        for node in self.lab.nodes() {
            let _ = node.run("standin acknowledge");
            let output = node.run_with_deadline("standin takeover --wait 5s", Duration::from_secs(60));
            match output {
                Ok(output) if output.success() => return Ok(format!("standin takeover on {}", node.name())),
                Ok(output) => tried.push(output.stderr.lines().next().unwrap_or_default().to_owned()),
                Err(error) => tried.push(super::fault::first_line(&error)),
            }
        }
        if tries == 0 {
            for node in self.lab.nodes() {
                if node
                    .run_with_deadline(MAKE_ROOM, Duration::from_secs(20))
                    .is_ok_and(|output| output.success())
                {
                    break;
                }
            }
            return Ok(format!("tried a takeover on both ({})", tried.join("; ")));
        }
        if tries > TRIES - 2 {
            bail!("no takeover succeeds: {}", tried.join("; "));
        }
        for node in self.lab.nodes() {
            self.reset(node)?;
        }
        Ok(format!("reset both nodes ({})", tried.join("; ")))
    }

    fn reset(&mut self, node: &Node) -> Result<()> {
        node.power_cut()?;
        node.boot()?;
        self.watch.sampler().wait_for(node).map(drop)
    }
}
