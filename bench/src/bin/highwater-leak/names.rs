//! A UNIQUE column of a USER table, held against a model: what others hold is never in the way, and a request id belongs to who
//! sent it.

use std::collections::{BTreeMap, BTreeSet};

use highwater_runtime::rng::Rng;

use crate::act::name;
use crate::failure::Failure;
use crate::house::{House, User};
use crate::mark::{Owner, owners};
use crate::verdict::state;

/// Names that each user has, by id.
#[derive(Debug, Default)]
pub(crate) struct Names {
    held: BTreeMap<Owner, BTreeMap<u64, &'static str>>,
    /// The last request id that was made, and for whom.
    last: Option<(String, Owner)>,
}

impl Names {
    /// Inserts or deletes a name, and tells what was wrong with the answer.
    pub(crate) fn insert(&mut self, rng: &mut Rng, house: &House, user: &User) -> Result<Option<String>, Failure> {
        let held = self.held.entry(user.owner).or_default();
        let (id, name) = (rng.below(12), name(rng));
        if rng.chance(0.3) {
            let reply = house.run(user, "DELETE FROM named WHERE id = $1", &[id.into()], None)?;
            let had = held.remove(&id).is_some();
            let told = reply.text.contains(&format!("Deleted {} row(s)", u8::from(had)));
            return Ok((!told).then(|| {
                format!("DELETE of name {id}, which it {} have: {}", if had { "does" } else { "does not" }, reply.text)
            }));
        }
        let letter = user.owner.letter();
        let text = format!("INSERT INTO named VALUES ({id}, '{name}', '{letter}') RETURNING owner");
        // Now and then the id of another user's request, which must not be answered with what that one was told.
        let (request, is_taken) = match self.last.take() {
            Some((request, of)) if rng.chance(0.3) && of != user.owner => (request, true),
            _ => (request_id(rng), false),
        };
        // Nobody's second statement under one id, which is refused.
        self.last = (!is_taken).then(|| (request.clone(), user.owner));
        let reply = house.run(user, &text, &[], Some(&request))?;
        let is_free = !held.contains_key(&id) && !held.values().any(|other| *other == name);
        if reply.status == 200 {
            held.insert(id, name);
        }
        let is_right = if is_free { reply.status == 200 } else { state(&reply.text).as_deref() == Some("23505") };
        let shown = owners(&reply.text);
        if is_right && shown.is_subset(&BTreeSet::from([user.owner])) && (reply.status != 200 || !shown.is_empty()) {
            return Ok(None);
        }
        Ok(Some(format!("{text} with request id {request}, where {held:?} are its names: {}", reply.text)))
    }
}

/// A UUIDv7 of now.
fn request_id(rng: &mut Rng) -> String {
    let now = jiff::Timestamp::now().as_millisecond();
    let (a, b) = (rng.below(1 << 12), rng.below(1 << 60));
    let time = format!("{now:012x}");
    let (high, low) = time.split_at(8);
    format!("{high}-{low}-7{a:03x}-8{:03x}-{:012x}", b >> 48, b & 0xFFFF_FFFF_FFFF)
}
