//! The processes of a program that was started here, as one group that ends together.

use std::{
    collections::BTreeSet,
    io,
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The groups that run, by the process id of their first process: an interrupt, which ends this process without unwinding,
/// ends them too.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A program and the processes that it has started, except those that left its group (`setsid`).
#[derive(Debug)]
pub(super) struct ProcessGroup {
    leader: u32,
}

impl ProcessGroup {
    /// Starts `command` in a group of its own.
    ///
    /// # Errors
    /// The errors of [`Command::spawn`].
    pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, Self)> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        // Under the lock, so that an interrupt finds every process that was started.
        let mut running = running();
        let child = command.spawn()?;
        let leader = child.id();
        running.insert(leader);
        Ok((child, Self { leader }))
    }

    /// Whether the program itself, which is `child`, has ended. Its process id stays taken until [`kill`](Self::kill).
    pub(super) fn leader_has_ended(&self, child: &mut Child) -> bool {
        os::has_ended(child)
    }

    /// Ends every process of the group, and waits for the program itself, which is `child`. Does nothing the second time.
    pub(super) fn kill(&self, child: &mut Child) {
        // Under the lock, and before the program is waited for: until then nobody else can have its process id.
        let mut running = running();
        if running.remove(&self.leader) {
            os::kill(child);
            // It was killed, and is this process's child: nothing else can fail.
            let _ = child.wait();
        }
    }
}

/// Ends every process group that this process has started, directly before this process ends itself.
///
/// From then on no group is started, and each thread that would tell of a program that has ended waits: nobody hears of an error
/// that is none.
pub(crate) fn kill_process_groups() {
    let running = running();
    running.iter().for_each(|leader| os::kill_group(*leader));
    std::mem::forget(running);
}

#[cfg(unix)]
mod os {
    use std::process::Child;

    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

    fn pid(id: u32) -> Option<Pid> {
        i32::try_from(id).ok().and_then(Pid::from_raw)
    }

    pub(super) fn has_ended(child: &Child) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        pid(child.id()).is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    pub(super) fn kill_group(leader: u32) {
        if let Some(pid) = pid(leader) {
            // It fails only where no process of the group is left.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    pub(super) fn kill(child: &Child) {
        kill_group(child.id());
    }
}

#[cfg(not(unix))]
mod os {
    use std::process::Child;

    pub(super) fn has_ended(child: &mut Child) -> bool {
        !matches!(child.try_wait(), Ok(None))
    }

    /// Without process groups, a program ends when its input is closed.
    pub(super) fn kill_group(_: u32) {}

    pub(super) fn kill(child: &mut Child) {
        // It fails only for one that has ended.
        let _ = child.kill();
    }
}
