//! Linearizable reads. A read's index is the commit index at the time it was asked for, or later, given out only by a
//! leader that has committed in its own term: before that it may not know everything that was committed (etcd issue 7331).

use crate::entry::Role;
use crate::error::ReadError;
use crate::ids::ReadContext;
use crate::node::RawNode;
use crate::ready::ReadState;

impl RawNode {
    /// Asks for an index at which a read is linearizable. The answer comes in [`crate::Ready::read_states`], or, when
    /// leadership is lost first, in [`crate::Ready::failed_reads`]. Every attempt, a retry too, takes a context above all
    /// earlier ones.
    ///
    /// # Errors
    /// [`ReadError`]; no answer follows then.
    pub fn read_index(&mut self, context: ReadContext) -> Result<(), ReadError> {
        if self.role != Role::Leader {
            return Err(ReadError::NotLeader { leader: self.leader });
        }
        if let Some(last) = self.last_read.filter(|last| context <= *last) {
            return Err(ReadError::StaleContext { context, last });
        }
        let limit = self.config.max_pending_reads;
        if self.waiting_reads.len().saturating_add(self.read_states.len()) >= limit {
            return Err(ReadError::TooManyPending { limit });
        }
        self.last_read = Some(context);
        self.waiting_reads.push_back(context);
        self.release_reads();
        self.stepped("read_index");
        Ok(())
    }

    /// Answers what waits, if this leader knows the commit index. A sole voter is its own quorum and needs no round.
    pub(crate) fn release_reads(&mut self) {
        if !self.committed_in_own_term() {
            return;
        }
        let index = self.log.commit();
        self.read_states.extend(self.waiting_reads.drain(..).map(|context| ReadState { context, index }));
    }
}
