//! What every key and range must hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use quickcheck::{Arbitrary, Gen, QuickCheck};

use highwater_sql::catalog::ObjectId;

use super::*;
use crate::command::RequestId;

/// Parts of a key, drawn from few values so that ranges meet.
#[derive(Clone, Debug)]
struct Subject {
    group: u32,
    number: u64,
    small: u32,
    text: String,
    bytes: Vec<u8>,
    time: i64,
}

impl Arbitrary for Subject {
    fn arbitrary(g: &mut Gen) -> Self {
        let texts = ["", "a", "b", "a\0", "a\0b", "aa", "\0", "\u{1}", "ü"];
        Self {
            group: *g.choose(&[0, 1, 2, 255, 256, u32::MAX - 1]).unwrap(),
            number: *g.choose(&[0, 1, 2, 255, 256, u64::MAX - 1, u64::MAX]).unwrap(),
            small: *g.choose(&[0, 1, 255, u32::MAX]).unwrap(),
            text: (*g.choose(&texts).unwrap()).to_owned(),
            bytes: Vec::arbitrary(g),
            time: *g.choose(&[i64::MIN, -1, 0, 1, i64::MAX]).unwrap(),
        }
    }
}

/// One key per kind of subject.
fn every_key(s: &Subject) -> Vec<(Space, Vec<u8>)> {
    let keys = Keys::new(s.group);
    let (id, request) = (ObjectId(s.number), RequestId { id: u128::from(s.number), ordinal: 3 });
    let row = keys.row(id, Some(&s.text), &s.bytes);
    let session = keys.session(&s.text, request);
    vec![
        (Space::Scalar, keys.scalar(1)),
        (Space::Catalog, keys.named_object(ObjectKind::Namespace, &s.text)),
        (Space::Catalog, keys.object(ObjectKind::Topic, id)),
        (Space::Row, row.clone()),
        (Space::Row, keys.row(id, None, &s.bytes)),
        (Space::RowEnd, keys.row_end(s.time, &row)),
        (Space::Session, session.clone()),
        (Space::SessionEnd, keys.session_end(s.time, &session)),
        (Space::Head, keys.head(id, s.small)),
        (Space::Message, keys.message(id, s.small, s.number)),
        (Space::Consumers, keys.consumers(id, s.small, &s.text)),
        (Space::Claim, keys.claim(id, s.small, &s.text, s.number)),
        (Space::Outbox, keys.outbox(s.small, s.number, s.small)),
        (Space::Inbox, keys.inbox(s.small)),
        (Space::OutboxPosition, keys.outbox_position(s.small)),
        (Space::Job, keys.job(&s.text)),
        (Space::Cluster, keys.cluster(2)),
        (Space::Login, keys.login(u128::from(s.number))),
    ]
}

#[test]
fn every_key_lies_in_its_group_and_in_its_space_and_in_no_other() {
    fn holds(s: Subject, other_group: u8) -> bool {
        let keys = Keys::new(s.group);
        let stranger = Keys::new(u32::from(other_group));
        every_key(&s).into_iter().all(|(space, key)| {
            keys.all().contains(&key)
                && (stranger.group() == s.group) == stranger.all().contains(&key)
                && SPACES.iter().all(|candidate| keys.space(*candidate).contains(&key) == (*candidate == space))
        })
    }
    QuickCheck::new().quickcheck(holds as fn(Subject, u8) -> bool);
}

#[test]
fn a_users_rows_hold_exactly_that_users_keys() {
    fn holds(s: Subject, t: Subject, start: Vec<u8>, end: Option<Vec<u8>>) -> bool {
        let keys = Keys::new(s.group);
        let (mine, theirs) = (ObjectId(s.number), ObjectId(t.number));
        let key = keys.row(theirs, Some(&t.text), &t.bytes);
        let inside =
            mine == theirs && s.text == t.text && start <= t.bytes && end.as_ref().is_none_or(|end| t.bytes < *end);
        keys.rows(mine, Some(&s.text), &start, end.as_deref()).contains(&key) == inside
            && keys.rows_of_table(mine).contains(&key) == (mine == theirs)
            && (keys.row_key_of(mine, Some(&s.text), &key) == Some(t.bytes.as_slice()))
                == (mine == theirs && s.text == t.text)
    }
    QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject, Vec<u8>, Option<Vec<u8>>) -> bool);
}

#[test]
fn a_shared_tables_rows_hold_exactly_its_keys() {
    fn holds(s: Subject, t: Subject, start: Vec<u8>, end: Option<Vec<u8>>) -> bool {
        let keys = Keys::new(s.group);
        let (mine, theirs) = (ObjectId(s.number), ObjectId(t.number));
        let inside = mine == theirs && start <= t.bytes && end.as_ref().is_none_or(|end| t.bytes < *end);
        keys.rows(mine, None, &start, end.as_deref()).contains(&keys.row(theirs, None, &t.bytes)) == inside
    }
    QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject, Vec<u8>, Option<Vec<u8>>) -> bool);
}

#[test]
fn topic_ranges_hold_exactly_their_topic_partition_and_group() {
    fn holds(s: Subject, t: Subject) -> bool {
        let keys = Keys::new(s.group);
        let (mine, theirs) = (ObjectId(s.number), ObjectId(t.number));
        let same_topic = mine == theirs;
        let same_partition = same_topic && s.small == t.small;
        let message = keys.message(theirs, t.small, t.number);
        let claim = keys.claim(theirs, t.small, &t.text, t.number);
        let consumers = keys.consumers(theirs, t.small, &t.text);
        keys.heads_of_topic(mine).contains(&keys.head(theirs, t.small)) == same_topic
            && keys.messages_of_topic(mine).contains(&message) == same_topic
            && keys.messages_from(mine, s.small, s.number).contains(&message)
                == (same_partition && t.number >= s.number)
            && keys.messages_below(mine, s.small, s.number).contains(&message)
                == (same_partition && t.number < s.number)
            && keys.consumers_of_topic(mine).contains(&consumers) == same_topic
            && keys.consumers_of_partition(mine, s.small).contains(&consumers) == same_partition
            && keys.claims_of_topic(mine).contains(&claim) == same_topic
            && keys.claims_of_partition(mine, s.small).contains(&claim) == same_partition
            && keys.claims_of_group(mine, s.small, &s.text).contains(&claim) == (same_partition && s.text == t.text)
            && Keys::offset_of(&message) == Some(t.number)
            && Keys::consumers_parts(&consumers) == Some((theirs, t.small, t.text.as_str()))
    }
    QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject) -> bool);
}

#[test]
fn outbox_ranges_split_a_destinations_records_at_an_index() {
    fn holds(s: Subject, t: Subject) -> bool {
        let keys = Keys::new(s.group);
        let record = keys.outbox(t.small, t.number, 7);
        let same = s.small == t.small;
        keys.outbox_after(s.small, s.number).contains(&record) == (same && t.number > s.number)
            && keys.outbox_upto(s.small, s.number).contains(&record) == (same && t.number <= s.number)
            && Keys::outbox_parts(&record) == Some((t.small, t.number, 7))
            && Keys::peer_of(&keys.inbox(t.small)) == Some(t.small)
    }
    QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject) -> bool);
}

#[test]
fn ends_sort_by_time_and_lead_back_to_what_ends() {
    fn holds(s: Subject, t: Subject) -> bool {
        let keys = Keys::new(s.group);
        let row = keys.row(ObjectId(t.number), Some(&t.text), &t.bytes);
        let session = keys.session(&t.text, RequestId { id: u128::from(t.number), ordinal: 1 });
        let (row_end, session_end) = (keys.row_end(t.time, &row), keys.session_end(t.time, &session));
        keys.row_of_end(&row_end).as_ref() == Some(&row)
            && keys.session_of_end(&session_end).as_ref() == Some(&session)
            && Keys::end_time(&row_end) == Some(t.time)
            && keys.row_ends_before(s.time).contains(&row_end) == (t.time < s.time)
            && keys.session_ends_before(s.time).contains(&session_end) == (t.time < s.time)
    }
    QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject) -> bool);
}

#[test]
fn sessions_of_one_principal_never_meet_anothers() {
    fn holds(s: Subject, t: Subject) -> bool {
        let keys = Keys::new(s.group);
        let request = RequestId { id: 1, ordinal: 0 };
        (keys.session(&s.text, request) == keys.session(&t.text, request)) == (s.text == t.text)
    }
    QuickCheck::new().tests(2000).quickcheck(holds as fn(Subject, Subject) -> bool);
}

#[test]
fn the_layout_is_as_drawn() {
    let keys = Keys::new(0x0102_0304);
    assert_eq!(
        keys.row(ObjectId(5), Some("a\0"), &[9]),
        [1, 2, 3, 4, 0x10, 0, 0, 0, 0, 0, 0, 0, 5, b'a', 0, 0xFF, 0, 1, 9]
    );
    assert_eq!(keys.outbox(1, 2, 3), [1, 2, 3, 4, 0x40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3]);
    assert_eq!(keys.head(ObjectId(1), 2), [1, 2, 3, 4, 0x30, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
}
