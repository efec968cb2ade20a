//! `/run`: a command in a container, and all that it wrote.

use std::time::Duration;

use super::Node;
use super::answer::{Answer, Refusal, json};
use super::query::Query;
use super::route::ContainerPath;
use super::session::running;

/// Runs the words of the parameter `cmd`.
pub(super) async fn serve(node: &Node, path: ContainerPath<'_>, query: &Query) -> Result<Answer, Refusal> {
    let command: Vec<String> = query.get("cmd").unwrap_or_default().split(' ').map(str::to_owned).collect();
    let id = running(node, path).await?;
    let done = node.runtime.exec_sync(&id, &command, Duration::ZERO).await?;
    if done.exit_code != 0 {
        let stderr = String::from_utf8_lossy(&done.stderr);
        let words = format!("command '{}' exited with {}: {stderr}", command.join(" "), done.exit_code);
        return Err(Refusal::internal(words));
    }
    let mut output = done.stdout;
    output.extend_from_slice(&done.stderr);
    // Whatever it is: the reference calls it this.
    Ok(json(output))
}
