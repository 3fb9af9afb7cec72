//! Watches over one core's links: introduces this node on new ones, and says in the log what becomes of other nodes and of the clock.

use std::rc::Rc;

use futures_lite::future;
use highwater_net::rpc::CallError;
use highwater_net::rpc::hello::RefusedReason;
use highwater_runtime::{Env, Rt};

use super::error::ClusterError;
use super::introduction::{INTRODUCTION, Introduction, OTHER_LAYOUT};
use super::links::{Links, has_left};
use super::way::{There, Way};
use crate::stop::Stop;

/// How long an introduction may take, in microseconds.
const INTRODUCTION_MICROS: u64 = 2_000_000;
/// Pause before a node that did not answer an introduction is asked again, in microseconds.
const PAUSE_MICROS: u64 = 100_000;
/// A node that was not reached for so long is looked up again, in microseconds.
const LOOK_UP_MICROS: u64 = 6_000_000;
/// How often the clock is compared for the log, in microseconds.
const CLOCK_MICROS: u64 = 5_000_000;

/// Starts to follow one node.
pub(crate) fn follow_one(env: &Rt, links: &Links, way: &Rc<Way>) {
    env.spawn("link", follow(env.clone(), links.clone(), Rc::clone(way)));
}

/// Starts the watch of the clock.
pub(crate) fn start(env: &Rt, links: &Links) {
    if links.is_first_core() && !links.is_alone() {
        env.spawn("cluster clock", compare_clocks(env.clone(), links.clone()));
    }
}

/// Says when this node's clock goes wrong, and when it is right again.
async fn compare_clocks(env: Rt, links: Links) {
    let ending = links.ending();
    let mut was_wrong = false;
    while !ending.is_requested() {
        future::or(ending.requested(), env.sleep(CLOCK_MICROS)).await;
        let is_wrong = links.clock_is_wrong();
        if is_wrong != was_wrong {
            let behind_ms = links.clock_behind_micros().unwrap_or(0) / 1000;
            if is_wrong {
                tracing::warn!(behind_ms, "this node's clock differs from most clocks of the cluster; set it by NTP");
            } else {
                tracing::info!(behind_ms, "this node's clock agrees with the cluster's again");
            }
            was_wrong = is_wrong;
        }
    }
}

/// Follows one node: introduces this one whenever a link comes up, and says when it is there and when it is gone. A node that is not
/// reached for a while is looked up again: its name may stand for another address by now, or it has said itself that it is elsewhere.
async fn follow(env: Rt, links: Links, way: Rc<Way>) {
    let ending = links.ending();
    let mut was = (false, String::new());
    let mut looked_up = env.now();
    let mut has_met = false;
    while !ending.is_requested() && !way.ended.is_requested() {
        let ends = future::or(ending.requested(), way.ended.requested());
        future::or(ends, way.first().changed()).await;
        if way.status().link.is_some() {
            has_met |= introduce(&env, &links, &way, &ending).await;
            looked_up = env.now();
        } else if env.now().micros_since(looked_up) > LOOK_UP_MICROS {
            looked_up = env.now();
            links.look_up_again(&way).await;
        }
        // One line per node is enough.
        if links.is_first_core() && !ending.is_requested() && !way.ended.is_requested() {
            was = report(&way, was);
            if was_taken_out(&links, &way) {
                let words = ClusterError::TakenOut(has_left(links.me())).to_string();
                // Who was a member until now ends as it was asked to; who is started with the folder of one that left is in error.
                if has_met {
                    env.leave(&words).await;
                } else {
                    env.fail_stop(&words).await;
                }
            }
        }
    }
}

/// Whether the other node says that this one has left the cluster: nothing is to be done here any more.
fn was_taken_out(links: &Links, way: &Way) -> bool {
    way.status()
        .refused
        .is_some_and(|refused| refused.reason == RefusedReason::NotAdmitted && refused.text == has_left(links.me()))
}

/// Introduces this node on the way's link, and says whether that was agreed to.
async fn introduce(env: &Rt, links: &Links, way: &Way, ending: &Stop) -> bool {
    let own = links.introduction();
    while let Some(link) = way.status().link {
        if ending.is_requested() || way.ended.is_requested() {
            break;
        }
        match way.first().call(INTRODUCTION, own.encode(), INTRODUCTION_MICROS).await {
            Ok(bytes) => {
                let Some(said) = Introduction::decode(&bytes) else {
                    *way.objection.borrow_mut() = Some(format!("node {} says what this release cannot read", way.node));
                    break;
                };
                if let Err(why) = own.agrees(links.me(), way.node, &said) {
                    *way.objection.borrow_mut() = Some(why);
                    break;
                }
                links.says_where(way.node, &said.rpc_addr);
                let there = There { incarnation: link.incarnation, said, at: env.now() };
                if let Err(error) = way.introduced(there) {
                    tracing::error!(node = way.node.0, %error, "no more connections to a node can be made");
                }
                return true;
            }
            Err(CallError::Refused(refusal)) if refusal.code == OTHER_LAYOUT => {
                *way.objection.borrow_mut() = Some(refusal.text);
                break;
            }
            Err(_) => future::or(ending.requested(), env.sleep(PAUSE_MICROS)).await,
        }
    }
    false
}

/// Says what has changed, and gives what was said.
fn report(way: &Way, (was_up, was_trouble): (bool, String)) -> (bool, String) {
    let status = way.status();
    let objection = way.objection.borrow().clone();
    match (status.link, objection.or(status.trouble)) {
        (_, Some(trouble)) if trouble != was_trouble => {
            tracing::warn!(node = way.node.0, address = %way.address.addr, trouble, "a node is not connected");
            (false, trouble)
        }
        (Some(_), None) if !was_up => {
            tracing::info!(node = way.node.0, address = %way.address.addr, "a node is connected");
            (true, String::new())
        }
        (link, _) => (link.is_some(), was_trouble),
    }
}
