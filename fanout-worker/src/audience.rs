//! Whom an envelope concerns, and who therefore gets which batch. Pure, and blind to bodies.

use std::collections::{BTreeMap, BTreeSet};

use shared::bus::{Notice, Topic};
use shared::event::Envelope;
use shared::id::BootId;

/// The topics of a batch, each once.
pub(crate) fn topics(envelopes: &[Envelope]) -> Vec<Topic> {
    envelopes.iter().flat_map(topics_of).collect::<BTreeSet<_>>().into_iter().collect()
}

fn topics_of(envelope: &Envelope) -> impl Iterator<Item = Topic> {
    let people = envelope.to.iter().copied().map(Topic::Person);
    envelope.room.map(Topic::Room).into_iter().chain(people)
}

/// One batch per node, each envelope at most once and in the order of the log. `routes` are the nodes that want each of
/// `topics`.
pub(crate) fn by_node(
    envelopes: &[Envelope],
    topics: &[Topic],
    routes: &[Vec<BootId>],
) -> BTreeMap<BootId, Vec<Notice>> {
    let wanted: BTreeMap<Topic, &Vec<BootId>> = topics.iter().copied().zip(routes).collect();
    let mut batches: BTreeMap<BootId, Vec<Notice>> = BTreeMap::new();
    for envelope in envelopes {
        let nodes: BTreeSet<BootId> = topics_of(envelope)
            .filter_map(|topic| wanted.get(&topic))
            .flat_map(|nodes| nodes.iter().copied())
            .collect();
        for node in nodes {
            batches.entry(node).or_default().push(Notice::Envelope(envelope.clone()));
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use shared::id::{AccountId, EntryId, Partition, RoomId};

    fn id<T>(name: impl Fn(uuid::Uuid) -> T, n: u128) -> T {
        name(uuid::Uuid::from_u128(n))
    }

    fn envelope(pseq: u32, room: Option<u128>, to: &[u128]) -> Envelope {
        let fields = Vec::new();
        let entry = EntryId { epoch: 1, pseq };
        let mut envelope = Envelope::from_fields(Partition::numbered(0), entry, fields);
        envelope.room = room.map(|n| id(RoomId, n));
        envelope.to = to.iter().map(|n| id(AccountId, *n)).collect();
        envelope
    }

    fn heard(batches: &BTreeMap<BootId, Vec<Notice>>, node: u128) -> Vec<u32> {
        let batch = batches.get(&id(BootId, node)).map(Vec::as_slice).unwrap_or_default();
        let pseq = |notice: &Notice| match notice {
            Notice::Envelope(envelope) => Some(envelope.entry.pseq),
            _ => None,
        };
        batch.iter().filter_map(pseq).collect()
    }

    #[test]
    fn every_node_gets_what_it_wants_once_and_in_order() {
        let envelopes = [
            envelope(1, Some(10), &[]),
            envelope(2, Some(11), &[20, 21]),
            envelope(3, None, &[]),
            envelope(4, Some(10), &[20]),
        ];
        let topics = topics(&envelopes);
        assert_eq!(topics.len(), 4);
        let routes: Vec<Vec<BootId>> = topics
            .iter()
            .map(|topic| match topic {
                Topic::Room(room) if *room == id(RoomId, 10) => vec![id(BootId, 1), id(BootId, 2)],
                Topic::Person(person) if *person == id(AccountId, 20) => vec![id(BootId, 2)],
                Topic::Person(_) => vec![id(BootId, 2), id(BootId, 3)],
                Topic::Room(_) => vec![],
            })
            .collect();
        let batches = by_node(&envelopes, &topics, &routes);
        assert_eq!(heard(&batches, 1), [1, 4]);
        assert_eq!(heard(&batches, 2), [1, 2, 4]);
        assert_eq!(heard(&batches, 3), [2]);
        assert_eq!(batches.len(), 3, "nobody gets an empty batch");
    }

    proptest! {
        /// Rooms and people are few, so that they meet.
        #[test]
        fn who_wants_a_topic_gets_all_of_it_once_and_nothing_else(
            entries in vec((prop::option::of(0..4_u128), vec(0..5_u128, 0..4)), 0..12),
            wanted in vec(btree_set(0..4_u128, 0..4), 20),
        ) {
            let envelopes: Vec<Envelope> =
                (1..).zip(&entries).map(|(pseq, (room, to))| envelope(pseq, *room, to)).collect();
            let topics = topics(&envelopes);
            prop_assert_eq!(topics.iter().collect::<BTreeSet<_>>().len(), topics.len(), "each topic once");
            // A route may name a node twice: it is told by more than one key.
            let routes: Vec<Vec<BootId>> = (0..topics.len())
                .map(|topic| wanted[topic % wanted.len()].iter().chain(&wanted[0]).map(|n| id(BootId, *n)).collect())
                .collect();
            let batches = by_node(&envelopes, &topics, &routes);
            for node in 0..4 {
                let wants = |topic: Topic| {
                    let place = topics.iter().position(|known| *known == topic);
                    place.is_some_and(|place| routes[place].contains(&id(BootId, node)))
                };
                let due: Vec<u32> = envelopes
                    .iter()
                    .filter(|envelope| topics_of(envelope).any(wants))
                    .map(|envelope| envelope.entry.pseq)
                    .collect();
                prop_assert_eq!(heard(&batches, node), due);
            }
            prop_assert!(batches.values().all(|batch| !batch.is_empty()), "nobody gets an empty batch");
        }
    }
}
