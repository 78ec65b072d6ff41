//! What `train --live` and `watch` have in common.

use anyhow::Result;
use spikegrad::live::{Live, Server};

/// Starts the server of the page, and tells where the page is.
pub fn start(port: Option<u16>, tell: impl Fn(&str)) -> Result<(Live, Server)> {
    let live = Live::default();
    let server = Server::start(port, &live)?;
    tell(&format!("watch it at {}", server.address()));
    if let Some(host) = ssh_host() {
        let port = server.port();
        tell(&format!("from your machine, first: ssh -L {port}:127.0.0.1:{port} {host}"));
    }
    Ok((live, server))
}

/// The address of this machine by which the user came here over ssh.
fn ssh_host() -> Option<String> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    connection.split_whitespace().nth(2).map(Into::into)
}
