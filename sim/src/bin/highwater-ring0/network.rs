//! Messages on their way, and links that fail. A message is lost, doubled, overtaken, or comes once more long after.

use std::collections::VecDeque;

use highwater_raft::Message;

use crate::dice::Dice;
use crate::disk::State;

/// Messages that may be under way; beyond, the oldest are lost.
const QUEUE: usize = 600;
/// Messages that are remembered to come once more.
const MUSEUM: usize = 128;

/// A message, and the data of the snapshot that it announces.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The message.
    pub message: Message,
    /// The content of an announced snapshot.
    pub snapshot: Option<State>,
}

/// The network between the slots.
#[derive(Clone, Debug)]
pub struct Network {
    queue: VecDeque<Packet>,
    museum: Vec<Packet>,
    /// Snapshots are rare, and remembered apart.
    snapshots: Vec<Packet>,
    /// `blocked[from * slots + to]`.
    blocked: Vec<bool>,
    slots: usize,
}

impl Network {
    /// A network in which every link works.
    pub fn new(slots: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            museum: Vec::new(),
            snapshots: Vec::new(),
            blocked: vec![false; slots * slots],
            slots,
        }
    }

    /// Messages under way.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Puts a message on its way. The one that is lost by it, if there are too many.
    #[must_use]
    pub fn send(&mut self, packet: Packet) -> Option<Packet> {
        self.queue.push_back(packet);
        if self.queue.len() > QUEUE { self.queue.pop_front() } else { None }
    }

    /// Takes the next message, or one that overtakes it.
    pub fn take(&mut self, dice: &mut Dice, overtaking: u32) -> Option<Packet> {
        if overtaking > 0 && self.queue.len() > 1 && dice.chance(overtaking) {
            let at = dice.below(self.queue.len());
            return self.queue.swap_remove_back(at);
        }
        self.queue.pop_front()
    }

    /// Remembers a message, to come once more.
    pub fn remember(&mut self, dice: &mut Dice, packet: &Packet) {
        if packet.snapshot.is_some() && self.snapshots.len() < MUSEUM {
            self.snapshots.push(packet.clone());
        } else if self.museum.len() < MUSEUM {
            self.museum.push(packet.clone());
        } else if dice.chance(100) {
            let at = dice.below(MUSEUM);
            if let Some(place) = self.museum.get_mut(at) {
                *place = packet.clone();
            }
        }
    }

    /// A message of long ago.
    pub fn old(&self, dice: &mut Dice) -> Option<Packet> {
        let from = if dice.chance(200) { &self.snapshots } else { &self.museum };
        from.get(dice.below(from.len())).cloned()
    }

    /// Loses everything that is under way.
    pub fn clear(&mut self) -> VecDeque<Packet> {
        std::mem::take(&mut self.queue)
    }

    /// Whether nothing gets from one slot to another.
    pub fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked.get(from * self.slots + to).copied().unwrap_or(true)
    }

    /// All links work.
    pub fn heal(&mut self) {
        self.blocked.fill(false);
    }

    fn block(&mut self, from: usize, to: usize) {
        if let Some(blocked) = self.blocked.get_mut(from * self.slots + to) {
            *blocked = true;
        }
    }

    /// Nothing reaches or leaves a slot.
    pub fn isolate(&mut self, slot: usize) {
        for other in (0..self.slots).filter(|other| *other != slot) {
            self.block(slot, other);
            self.block(other, slot);
        }
    }

    /// Lets links fail: two halves, one node (the leader, if there is to be one), a bridge between two halves, or one direction of any of these.
    pub fn partition(&mut self, dice: &mut Dice, leader: Option<usize>) {
        let slots = self.slots;
        let apart = if let Some(leader) = leader {
            1 << leader
        } else if dice.chance(400) {
            1 << dice.below(slots)
        } else {
            dice.below(1 << slots)
        };
        let bridge = if dice.chance(200) { dice.below(slots) } else { slots };
        let (out, back) = dice.pick(&[(true, true), (true, true), (true, false), (false, true)]);
        for one in (0..slots).filter(|slot| apart >> slot & 1 == 1 && *slot != bridge) {
            for other in (0..slots).filter(|slot| apart >> slot & 1 == 0 && *slot != bridge) {
                if out {
                    self.block(one, other);
                }
                if back {
                    self.block(other, one);
                }
            }
        }
    }
}
