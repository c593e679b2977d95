use super::*;

const SHAPE: Shape = Shape { api: 3, fanout: 2, persister: 2 };

#[test]
fn a_seed_repeats_its_schedule_and_another_has_its_own() {
    assert_eq!(draw(5, 60, SHAPE), draw(5, 60, SHAPE));
    assert_ne!(draw(5, 60, SHAPE), draw(6, 60, SHAPE));
}

#[test]
fn every_fault_is_healed_before_the_calm_and_at_most_two_overlap() {
    for seed in 0..200 {
        for secs in [20, 60, 300] {
            let plan = draw(seed, secs, SHAPE);
            assert!(!plan.is_empty(), "seed {seed}, {secs} s");
            let end = Duration::from_secs(secs) - calm(secs);
            for (index, one) in plan.iter().enumerate() {
                assert!(one.at + one.lasts <= end, "seed {seed}: {one}");
                let later = plan[index + 1..].iter().filter(|other| other.at < one.at + one.lasts);
                let later: Vec<&Planned> = later.collect();
                assert!(later.len() <= 1, "seed {seed}: {one} and {later:?}");
                assert!(later.iter().all(|other| !same_place(one.fault, other.fault)), "seed {seed}: {one}");
            }
        }
    }
}

#[test]
fn five_minutes_hold_every_kind_of_fault_for_every_kind_of_process() {
    let plan = draw(1, 300, SHAPE);
    let told: Vec<String> = plan.iter().map(|planned| planned.fault.to_string()).collect();
    for verb in ["kill -9", "pause"] {
        for target in ["api", "fanout", "persister", "redis-log", "redis-bus", "postgres"] {
            let begin = format!("{verb} {target}");
            assert!(told.iter().any(|fault| fault.starts_with(&begin)), "{begin} in {told:?}");
        }
    }
    for end in ["slow", "silent", "refusing", "cut", "losing answers", "s back", "ms slower"] {
        assert!(told.iter().any(|fault| fault.ends_with(end)), "{end} in {told:?}");
    }
}
