//! Leases as the queue promised them, held against what it answers: an item is one worker's while its lease lasts,
//! and nobody leaves one behind.

use std::collections::BTreeMap;

use worker::item::Name;
use worker::queue::{Claim, Ownership};

use super::ask::{Ask, QueueReply};
use super::broken::Broken;
use super::clock::{Micros, ms};
use super::nfs::Client;

#[derive(Debug)]
struct Lease {
    owner: (u64, u128),
    holder: Client,
    until: Micros,
}

#[derive(Debug, Default)]
pub struct Ledger {
    leases: BTreeMap<Name, Lease>,
}

fn owner(claim: &Claim) -> (u64, u128) {
    (claim.token, claim.nonce)
}

impl Ledger {
    /// The queue has forgotten: what it promised before no longer counts.
    pub fn forget(&mut self) {
        self.leases.clear();
    }

    /// The queue did what `holder` asked. Returns how it broke its promise, if it did, and whose lease
    /// had run out where an item went to another.
    pub fn answered(
        &mut self,
        now: Micros,
        holder: Client,
        ask: &Ask,
        reply: &QueueReply,
    ) -> (Option<Broken>, Option<Client>) {
        match (ask, reply) {
            (Ask::Claim { lease, .. }, QueueReply::Claimed(Some(claim))) => {
                let until = now + lease.as_micros() as Micros;
                let before =
                    self.leases.insert(claim.item.name, Lease { owner: owner(claim), holder, until });
                let Some(before) = before else { return (None, None) };
                if before.until > now + ms(1) {
                    let detail = format!("the queue hands out {}, which is leased to another", claim.item);
                    return (Some(Broken::waste(detail)), None);
                }
                (None, Some(before.holder))
            }
            (Ask::Heartbeat(claim, lease, _), QueueReply::Ownership(hold)) => {
                let broken = self.judge(now, claim, *hold);
                if *hold == Ownership::Held
                    && let Some(mine) = self.leases.get_mut(&claim.item.name)
                {
                    mine.until = now + lease.as_micros() as Micros;
                }
                (broken, None)
            }
            (Ask::Ack(claim, _) | Ask::Release(claim, ..), QueueReply::Ownership(hold)) => {
                let broken = self.judge(now, claim, *hold);
                if *hold == Ownership::Held {
                    self.leases.remove(&claim.item.name);
                }
                (broken, None)
            }
            _ => (None, None),
        }
    }

    /// Whether the queue's word on a claim fits what it handed out.
    fn judge(&self, now: Micros, claim: &Claim, hold: Ownership) -> Option<Broken> {
        let lease = self.leases.get(&claim.item.name)?;
        let ours = lease.owner == owner(claim);
        let wrong = match hold {
            Ownership::Held => !ours,
            Ownership::Lost => ours && lease.until > now,
        };
        wrong.then(|| Broken::waste(format!("the queue mistakes whose {} is: it says {hold:?}", claim.item)))
    }

    /// What a machine still holds.
    pub fn left_by(&self, now: Micros, machine: Client) -> Option<Name> {
        let mut left = self.leases.iter();
        left.find(|(_, lease)| lease.holder == machine && lease.until > now).map(|(item, _)| *item)
    }
}
