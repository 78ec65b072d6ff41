//! What `train --live` and `watch` have in common.

use anyhow::Result;
use spikegrad::live::Live;

/// Starts the server of the page, and tells where the page is.
pub fn start(port: Option<u16>, tell: impl Fn(&str)) -> Result<Live> {
    let live = Live::start(port)?;
    tell(&format!("watch it at {}", live.address()));
    if let Some(host) = ssh_host() {
        let port = live.port();
        tell(&format!("from your machine, first: ssh -L {port}:127.0.0.1:{port} {host}"));
    }
    Ok(live)
}

/// The address of this machine by which the user came here over ssh.
fn ssh_host() -> Option<String> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    connection.split_whitespace().nth(2).map(Into::into)
}
