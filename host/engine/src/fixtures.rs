//! Values for unit tests.

use hull_state::{ContainerConfig, ContainerRecord, ContainerState};

/// A configuration in which nothing was asked.
pub fn config() -> ContainerConfig {
    ContainerConfig::default()
}

/// The state of a container that has never run.
pub fn state() -> ContainerState {
    ContainerState::created()
}

/// A record with this configuration.
pub fn record(config: ContainerConfig) -> ContainerRecord {
    ContainerRecord {
        version: hull_state::VERSION,
        id: "0123456789ab0123456789ab0123456789ab0123456789ab0123456789ab0123".parse().expect("64 digits"),
        name: "calm_noether".to_owned(),
        created_at: jiff::Timestamp::UNIX_EPOCH,
        image: "hull/busybox".to_owned(),
        image_id: "sha256:00".to_owned(),
        image_rootfs: vec!["/rootfs".into()],
        config,
    }
}
