//! `switchboard agent`.

use super::{Ending, config::AgentArgs};
use crate::agent;

pub(super) fn run(args: AgentArgs) -> anyhow::Result<Ending> {
    agent::run(args.resolve()?)?;
    Ok(Ending::Done)
}
