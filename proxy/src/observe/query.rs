//! What the socket asks the agent's loop, which alone knows the state: nothing is kept twice.

use tokio::sync::oneshot;

use super::{
    service::ServicePortView,
    snapshot::Status,
    trace::{Answer, Question},
};

/// A question with the place for its answer. Answering reads the state and changes nothing.
#[derive(Debug)]
pub enum Query {
    Status(oneshot::Sender<Status>),
    /// Every service port, in the order of namespace, name and port.
    Services(oneshot::Sender<Vec<ServicePortView>>),
    /// What becomes of a packet; the error is the whole message for the person who asked.
    Trace(Question, oneshot::Sender<Result<Answer, String>>),
}
