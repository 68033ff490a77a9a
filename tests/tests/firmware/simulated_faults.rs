//! Random faults from seeds. `bissl-firmware-sim faults --seed N --count M` runs as many as you
//! like.

use bissl_firmware_sim::{Digits, simulate_faults};

#[test]
fn devices_with_faults_stop_with_an_error_or_end_rightly() {
    let endings = simulate_faults(&Digits::embedded(), 1, 40).unwrap();
    let sum =
        |pick: fn(&bissl_firmware_sim::Endings) -> u64| -> u64 { endings.values().map(pick).sum() };
    assert_eq!(endings.len(), 6, "{endings:?}");
    assert_eq!(sum(|e| e.stopped) + sum(|e| e.same) + sum(|e| e.other), 40);
    assert!(sum(|e| e.stopped) > 3 && sum(|e| e.same) > 3, "{endings:?}");
    for kind in ["exhausted time budget", "wrong replies"] {
        assert_eq!((endings[kind].stopped, endings[kind].other), (0, 0), "{kind}");
    }
}
