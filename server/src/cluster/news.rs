//! Newer rolls, asked of the nodes that are known.
//!
//! A node that was down while others came, went and took the lead starts with an old roll. It lets a new member in nowhere, and if that
//! one leads the meta group, the log that would name it never comes. But whoever knocks has proven the cluster's secret: a stranger with
//! the secret says that the roll may be old. Then the members that this node knows are asked for theirs. A stranger's own word counts for
//! nothing: only what members say of it does.
//!
//! The request (call kind [`ROLL`]) is `version u8 = 1`; the answer is empty, or a roll as the meta group stores it (state/src/roll.rs).

use bytes::Bytes;
use highwater_net::rpc::{Answer, CallKind, Refusal, RefusalCode};
use highwater_state::roll::Roll;

use super::links::Links;

/// The kind of the call by which a member is asked for the newest roll that it has seen.
pub(crate) const ROLL: CallKind = CallKind(3);
/// Refusal: the request is of a later release.
const UNKNOWN_REQUEST: RefusalCode = RefusalCode(RefusalCode::FIRST_OF_SERVER + 3);
const VERSION: u8 = 1;
/// How long a member may take to answer, in microseconds.
const ANSWER_MICROS: u64 = 2_000_000;

/// The newest roll that this node has seen of the meta group.
pub(super) fn answer(links: &Links, request: &[u8]) -> Answer {
    if request != [VERSION] {
        return Err(Refusal::new(
            UNKNOWN_REQUEST,
            format!("node {} cannot read a request for its roll, of {} bytes", links.me(), request.len()),
        ));
    }
    Ok(links.newest().map_or_else(Bytes::new, |roll| roll.to_bytes().into()))
}

impl Links {
    /// The newest roll that the connected members know, if one is newer than `known`.
    pub(crate) async fn ask_for_newer(&self, known: u64) -> Option<Roll> {
        let mut newest: Option<Roll> = None;
        for way in self.ways() {
            if way.status().link.is_none() {
                continue;
            }
            // Who does not answer, or is of a release that does not know the question, knows nothing newer.
            let Ok(bytes) = way.first().call(ROLL, Bytes::from_static(&[VERSION]), ANSWER_MICROS).await else {
                continue;
            };
            let newer = |than: u64| Roll::from_bytes(&bytes).ok().filter(|roll| roll.version > than);
            newest = newer(newest.as_ref().map_or(known, |roll| roll.version)).or(newest);
        }
        newest
    }
}
