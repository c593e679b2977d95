//! Servers in containers, through testcontainers, on whatever Docker engine answers.
//!
//! Image and tag are always named: the defaults of ready-made modules are years old. `TEST_REDIS_IMAGE` and
//! `TEST_POSTGRES_IMAGE` say which, so that a network without a registry can bring its own.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use crate::children::{CONTAINER_FILE, free_port, fresh_folder};

/// `name:tag` of the image that Redis runs from.
pub(super) fn redis_image() -> String {
    std::env::var("TEST_REDIS_IMAGE").unwrap_or_else(|_| "redis:7.4".to_owned())
}

/// `name:tag` of the image that PostgreSQL runs from.
pub(super) fn postgres_image() -> String {
    std::env::var("TEST_POSTGRES_IMAGE").unwrap_or_else(|_| "postgres:17".to_owned())
}

/// Whether a Docker engine answers. Asked once, since asking starts a program.
pub(super) fn engine_answers() -> bool {
    static ANSWERS: OnceLock<bool> = OnceLock::new();
    *ANSWERS.get_or_init(|| {
        let mut version = Command::new("docker");
        version.args(["version", "--format", "{{.Server.Version}}"]);
        let status = version.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}

/// One server in a container, on a port of this machine that stays the same when it is started again.
pub(super) struct Contained {
    pub(super) port: u16,
    id: String,
    _container: Box<ContainerAsync<GenericImage>>,
}

impl Contained {
    /// Starts `command` from `image` and publishes its `inner_port`; whether it is ready the caller asks it.
    pub(super) async fn launch(
        image: &str,
        inner_port: u16,
        command: &[&str],
        env: &[(&str, &str)],
    ) -> Contained {
        let (name, tag) = image.rsplit_once(':').expect("an image is named with its tag");
        let port = free_port();
        let request = GenericImage::new(name, tag)
            .with_wait_for(WaitFor::Nothing)
            .with_mapped_port(port, inner_port.tcp())
            .with_cmd(command.iter().copied());
        let request = env.iter().fold(request, |request, (name, value)| request.with_env_var(*name, *value));
        let container =
            request.start().await.unwrap_or_else(|error| panic!("no container from {image}: {error}"));
        let id = container.id().to_owned();
        // The watchdog removes it when this process ends without dropping anything.
        fs::write(fresh_folder("container").join(CONTAINER_FILE), format!("{id}\n"))
            .expect("a fresh folder can be written");
        Contained { port, id, _container: Box::new(container) }
    }

    /// Stops the server as an operator would. Both servers take SIGINT for "now, but cleanly".
    pub(super) fn stop(&self) {
        self.docker(&["kill", "--signal=INT"]);
        self.docker(&["wait"]);
    }

    /// `docker` with such a command on this container: `kill`, `start`, `pause`, `unpause`.
    pub(super) fn docker(&self, command: &[&str]) {
        let done = Command::new("docker").args(command).arg(&self.id).stdin(Stdio::null()).output();
        let done = done.expect("the program docker is installed beside its engine");
        let said = String::from_utf8_lossy(&done.stderr);
        // Killing what is dead already is no failure of the harness.
        assert!(done.status.success() || command.contains(&"kill"), "docker {command:?}: {said}");
    }
}
