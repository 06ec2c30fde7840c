//! Questions about containers that run.

use super::Agent;
use crate::error::Result;
use crate::{processes, usage};
use hull_protocol::ContainerId;
use hull_protocol::agent::Outcome;

impl Agent {
    pub(super) fn usage(&self, id: &ContainerId) -> Result<Outcome> {
        Ok(Outcome::Usage(usage::of(self.living_container(id)?.cgroup()?)))
    }

    pub(super) fn list_processes(&self, id: &ContainerId) -> Result<Outcome> {
        let members = self.living_container(id)?.cgroup()?.processes()?;
        Ok(Outcome::Processes(processes::describe(&members)))
    }
}
