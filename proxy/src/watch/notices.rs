//! What the agent has to tell the users of an object: Kubernetes Events, on their way to the API
//! (services.md 101, 132).
//!
//! Whoever tells never waits. What nobody fetches in time, as with a directory as the source, is
//! forgotten, the oldest first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::model::ObjectRef;

/// Notices that wait; an API server that is away must not make the agent grow.
const WAITING_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// A Service or the Node.
    pub object: ObjectRef,
    pub severity: Severity,
    /// One word in upstream's spelling, by which users filter.
    pub reason: &'static str,
    /// What was done, or tried.
    pub action: &'static str,
    pub note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Normal,
    Warning,
}

/// The queue between those who tell and the one who fetches.
#[derive(Clone, Debug, Default)]
pub struct Notices(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<VecDeque<Notice>>,
    told: Notify,
}

// === impl Notices ===

impl Notices {
    pub fn tell(&self, notice: Notice) {
        {
            let mut waiting = self.waiting();
            if waiting.len() == WAITING_MAX {
                waiting.pop_front();
            }
            waiting.push_back(notice);
        }
        self.0.told.notify_one();
    }

    /// The next one, as soon as there is one.
    pub async fn fetch(&self) -> Notice {
        loop {
            if let Some(notice) = self.waiting().pop_front() {
                return notice;
            }
            self.0.told.notified().await;
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Notice>> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, ObjectKey};

    fn notice(note: usize) -> Notice {
        Notice {
            object: ObjectRef::new(Kind::Node, ObjectKey::new("", "here")),
            severity: Severity::Normal,
            reason: "Starting",
            action: "StartKubeProxy",
            note: note.to_string(),
        }
    }

    #[tokio::test]
    async fn notices_come_in_order_and_wake_who_waits() {
        let notices = Notices::default();
        let fetching = tokio::spawn({
            let notices = notices.clone();
            async move { (notices.fetch().await, notices.fetch().await) }
        });
        tokio::task::yield_now().await;
        notices.tell(notice(0));
        notices.tell(notice(1));
        assert_eq!(fetching.await.unwrap(), (notice(0), notice(1)));
    }

    #[tokio::test]
    async fn of_too_many_the_oldest_are_forgotten() {
        let notices = Notices::default();
        for note in 0..WAITING_MAX + 3 {
            notices.tell(notice(note));
        }
        assert_eq!(notices.fetch().await, notice(3));
    }
}
