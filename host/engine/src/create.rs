//! Making a container: from what was asked and what its image says to a record, and its writable layer.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::image::Image;
use crate::{names, spec};
use hull_platform::file::copy_sparse;
use hull_platform::signals::LinuxSignal;
use hull_protocol::ContainerId;
use hull_state::{ContainerConfig, ContainerDir, ContainerRecord, NAME_RULE, StateError, is_name};
use jiff::Timestamp;

/// How often a random name is drawn again because somebody has it.
const NAME_ATTEMPTS: u32 = 16;

/// What is asked of `create` and `run`.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// The image, as the user calls it; [`Engine::image`] finds it.
    pub image: String,
    /// The container's name; none: a random one.
    pub name: Option<String>,
    /// In place of the image's entry point; empty: without any.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's stop signal.
    pub stop_signal: Option<LinuxSignal>,
    /// Everything else. What is empty here (command, user, working directory, host name) comes from the image or is
    /// hull's default; `entrypoint` and `stop_signal` are those above.
    pub config: ContainerConfig,
}

/// A container that is complete but not yet published.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) record: ContainerRecord,
    /// Kept until others can see that the container has it.
    image: Image<'a>,
    /// Its name was drawn, and may be drawn again.
    random_name: bool,
}

impl Engine {
    /// Creates a container of an image without starting it.
    ///
    /// # Errors
    /// The name, or a setting.
    pub fn create(&self, request: CreateRequest, image: Image<'_>) -> Result<ContainerDir, EngineError> {
        let draft = self.draft(request, image)?;
        self.publish(draft).map(|(container, _)| container)
    }

    /// Resolves and checks everything; nothing is written.
    pub(crate) fn draft<'a>(&self, request: CreateRequest, image: Image<'a>) -> Result<Draft<'a>, EngineError> {
        if let Some(name) = request.name.as_deref() {
            self.check_name(name)?;
        }
        if let Some(name) = request.config.vm.name.as_deref() {
            check_vm_name(name)?;
        }
        let id = ContainerId::from_bytes(hull_platform::random::array().map_err(EngineError::io("get random bytes"))?);
        let random_name = request.name.is_none();
        let name = match request.name {
            Some(name) => name,
            None => random(0)?,
        };
        let config = resolve(request.config, request.entrypoint, request.stop_signal, &image, &id)?;
        // Better now than after a VM was booted for it.
        spec::container_spec(&id, &config)?;
        let record = ContainerRecord {
            version: hull_state::VERSION,
            id,
            name,
            created_at: Timestamp::now(),
            image: request.image,
            image_id: image.id.clone(),
            image_rootfs: image.rootfs.clone(),
            config,
        };
        Ok(Draft { record, image, random_name })
    }

    fn check_name(&self, name: &str) -> Result<(), EngineError> {
        if !is_name(name) {
            return Err(EngineError::Invalid(format!("Invalid container name ({name}), {NAME_RULE}")));
        }
        match self.root.find_container(name).and_then(|container| container.record()) {
            Ok(record) if record.name == name => {
                Err(EngineError::NameTaken { name: name.to_owned(), id: record.id.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Makes the container's directory, with its writable layer in it.
    pub(crate) fn publish(&self, draft: Draft<'_>) -> Result<(ContainerDir, ContainerRecord), EngineError> {
        let Draft { mut record, image: _image, random_name } = draft;
        let assets = self.assets()?;
        let template = if record.config.auto_remove { assets.scratch_template() } else { assets.data_template() }?;
        let layer = self.root.container(&record.id).data_path();
        let layer = layer.file_name().expect("the layer is a file in the container's directory").to_owned();
        let mut attempt = 0;
        loop {
            match self.root.create_container_with(&record, |dir| copy_sparse(&template, &dir.join(&layer))) {
                Ok(container) => return Ok((container, record)),
                Err(StateError::NameTaken { .. }) if random_name && attempt < NAME_ATTEMPTS => {
                    attempt += 1;
                    record.name = random(attempt)?;
                }
                Err(StateError::NameTaken { name, id }) => return Err(EngineError::NameTaken { name, id }),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn random(attempt: u32) -> Result<String, EngineError> {
    names::random(attempt).map_err(EngineError::io("get random bytes"))
}

/// A VM's name becomes a file name as a container's does.
pub(crate) fn check_vm_name(name: &str) -> Result<(), EngineError> {
    if is_name(name) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!("invalid VM name {name:?}: {NAME_RULE}")))
}

/// What the user asked, completed from the image, by Docker's rules.
fn resolve(
    mut config: ContainerConfig,
    entrypoint: Option<Vec<String>>,
    stop_signal: Option<LinuxSignal>,
    image: &Image<'_>,
    id: &ContainerId,
) -> Result<ContainerConfig, EngineError> {
    let defaults = image.configuration.config().clone().unwrap_or_default();
    // A new entry point takes nothing from the image: its command was written for the old one.
    if entrypoint.is_none() && config.command.is_empty() {
        config.command = defaults.cmd().clone().unwrap_or_default();
    }
    config.entrypoint = entrypoint.unwrap_or_else(|| defaults.entrypoint().clone().unwrap_or_default());
    if config.entrypoint.is_empty() && config.command.is_empty() {
        return Err(EngineError::Invalid("No command specified".to_owned()));
    }
    check_environment(&config.env)?;
    let image_env = defaults.env().clone().unwrap_or_default();
    config.env = with_image_environment(std::mem::take(&mut config.env), image_env);
    for (key, value) in defaults.labels().iter().flatten() {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    fill(&mut config.user, defaults.user().as_deref());
    fill(&mut config.working_dir, defaults.working_dir().as_deref());
    fill(&mut config.hostname, Some(id.short()));
    check_hostname(&config.hostname)?;
    let image_signal = defaults.stop_signal().as_deref().and_then(|name| name.parse().ok());
    config.stop_signal = stop_signal.or(image_signal).unwrap_or(LinuxSignal::TERM).number();
    Ok(config)
}

fn fill(value: &mut String, default: Option<&str>) {
    if value.is_empty()
        && let Some(default) = default
    {
        default.clone_into(value);
    }
}

fn check_environment(env: &[String]) -> Result<(), EngineError> {
    match env.iter().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        Some(entry) => Err(EngineError::Invalid(format!("invalid environment variable: {entry:?}"))),
        None => Ok(()),
    }
}

/// The image's variables come behind the user's, and only those that the user did not set (or take away).
fn with_image_environment(mut env: Vec<String>, image: Vec<String>) -> Vec<String> {
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let set: Vec<_> = env.iter().map(|entry| key(entry)).collect();
    env.extend(image.into_iter().filter(|entry| !set.contains(&key(entry))));
    env
}

fn check_hostname(hostname: &str) -> Result<(), EngineError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // sethostname(2) takes 64 bytes.
    if hostname.len() <= 64 && hostname.split('.').all(label) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!("invalid hostname format: {hostname}")))
}

#[cfg(test)]
mod tests;
