//! A container in a sandbox.

use crate::command::{Command, Finished};
use crate::process::Process;
use crate::sandbox::Sandbox;
use crate::wait_until;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// A container that is removed, by force, when this is dropped.
pub struct Container<'a> {
    sandbox: &'a Sandbox,
    /// Its whole id.
    pub id: String,
}

impl<'a> Container<'a> {
    /// Takes over the container with this id, as `hull run -d` and `hull create` print it.
    ///
    /// # Errors
    /// If that is not a container id.
    pub fn new(sandbox: &'a Sandbox, id: String) -> Result<Self> {
        let hex = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(hex, "expected a container id, got {id:?}");
        Ok(Self { sandbox, id })
    }

    /// The first twelve digits of its id.
    pub fn short(&self) -> &str {
        &self.id[..12]
    }

    /// `hull VERB OPTIONS ID`.
    pub fn hull(&self, verb: &str, options: &[&str]) -> Command {
        self.sandbox.hull([verb]).args(options).arg(&self.id)
    }

    /// Runs `hull VERB OPTIONS ID` to its end and requires exit status 0.
    ///
    /// # Errors
    /// See [`Finished::ok`].
    pub fn does(&self, verb: &str, options: &[&str]) -> Result<Finished> {
        self.hull(verb, options).output()?.ok()
    }

    /// `hull exec OPTIONS ID COMMAND`.
    pub fn exec(&self, options: &[&str], command: &[&str]) -> Command {
        self.hull("exec", options).args(command)
    }

    /// Runs a shell script in it and requires exit status 0; the output without white space at the end.
    ///
    /// # Errors
    /// See [`Finished::ok`].
    pub fn sh(&self, script: &str) -> Result<String> {
        Ok(self.exec(&[], &["sh", "-c", script]).output()?.ok()?.out())
    }

    /// Runs a shell script at which the container ends: that may be the end of the script's shell, too, whose exit status then
    /// says nothing.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn sh_to_the_end(&self, script: &str) -> Result<()> {
        self.exec(&[], &["sh", "-c", script]).output().map(drop)
    }

    /// What `hull inspect` says, as JSON.
    ///
    /// # Errors
    /// If it says nothing of the container.
    pub fn inspect(&self) -> Result<Value> {
        let document = self.does("inspect", &[])?.json()?;
        document.get(0).cloned().with_context(|| format!("inspect says {document}"))
    }

    /// `.State.Status`: `created`, `running`, `exited` …
    ///
    /// # Errors
    /// See [`Container::inspect`].
    pub fn status(&self) -> Result<String> {
        let document = self.inspect()?;
        let status = document.pointer("/State/Status").and_then(Value::as_str).map(str::to_owned);
        status.with_context(|| format!("no status in {document}"))
    }

    /// Waits for its end; its exit status.
    ///
    /// # Errors
    /// If `hull wait` fails.
    pub fn wait(&self) -> Result<i32> {
        let said = self.does("wait", &[])?.out();
        said.parse().with_context(|| format!("`hull wait` says {said:?}"))
    }

    /// Waits until its log holds `text`.
    ///
    /// # Errors
    /// If it does not come to hold it.
    pub fn wait_for_log(&self, text: &str) -> Result<()> {
        wait_until(&format!("{text:?} in the log"), Duration::from_secs(60), || {
            Ok(self.does("logs", &[])?.out().contains(text))
        })
    }

    /// The host processes that descend from the shim of its VM, the shim first. Only for a sandbox with one VM.
    ///
    /// # Errors
    /// If there is no shim.
    pub fn vm_processes(&self) -> Result<Vec<Process>> {
        let mut processes = self.sandbox.processes();
        processes.sort_by_key(|process| process.role);
        ensure!(!processes.is_empty(), "no process of {}", self.sandbox.path().display());
        Ok(processes)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // Fails where the test has removed it already; what is left, the sandbox reports at its end.
        self.hull("rm", &["-f"]).output().ok();
    }
}
