//! One group of tasks per core on the current madsim node.

use std::future::Future;

use futures_channel::oneshot;

use super::env::MadsimEnv;
use crate::env::{CoreId, Env};
use crate::launch::{CpuSet, JoinError, LaunchError};

/// The running cores of the current node.
#[derive(Debug)]
pub struct Cores {
    ends: Vec<oneshot::Receiver<()>>,
    pinned: Vec<usize>,
}

impl Cores {
    /// The CPU of each core, by core index, as asked for: simulated cores have none.
    #[must_use]
    pub fn pinned(&self) -> &[usize] {
        &self.pinned
    }

    /// Waits until every core's body has returned.
    pub async fn wait(self) {
        for end in self.ends {
            // A core that is dropped has ended too.
            let _ = end.await;
        }
    }

    /// Not in simulation, where nothing may block: see [`Cores::wait`].
    ///
    /// # Errors
    /// Always.
    pub fn join(self) -> Result<(), JoinError> {
        Err(JoinError {
            core: 0,
            reason: "a simulated core can't be joined by a thread; await `wait` instead".to_owned(),
        })
    }
}

/// Starts one core per CPU on the current node, each running `body` with its environment.
///
/// # Errors
/// [`LaunchError::TooManyCores`].
pub fn launch<F, Fut>(cpus: &CpuSet, body: F) -> Result<Cores, LaunchError>
where
    F: Fn(MadsimEnv) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let core_count = u16::try_from(cpus.len()).map_err(|_| LaunchError::TooManyCores(cpus.len()))?;
    let node = MadsimEnv::of_current_node();
    let mut ends = Vec::new();
    for core in 0..core_count {
        let env = node.on_core(CoreId(core), core_count);
        let (ended, end) = oneshot::channel();
        let run = body.clone();
        let inner = env.clone();
        env.spawn("core", async move {
            run(inner).await;
            // Nobody may be waiting.
            let _ = ended.send(());
        });
        ends.push(end);
    }
    Ok(Cores { ends, pinned: cpus.iter().collect() })
}
