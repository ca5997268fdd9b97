//! The dispatcher's part in a wish, played by a test.

use kennel_core::{BuildId, Delivery, Event, EventId};
use kennel_store::InboxEntry;

use crate::tree::{Said, Tree, until};

impl Tree {
    /// Some rows that were taken long ago, so that the next one has a number of its own.
    pub(crate) fn taken(&self, count: usize) {
        let wish = Delivery {
            project: "shop".parse().unwrap(),
            forge: None,
            delivery_id: None,
            received_at: self.now,
            by: None,
            uid: None,
            event: Event::Cancel { build: BuildId::from_row(1) },
        };
        let mut inbox = self.inbox();
        inbox.append(&vec![wish; count]).unwrap();
        for entry in inbox.waiting(100).unwrap() {
            inbox.consume(entry.id, "", self.now).unwrap();
        }
    }

    /// What kennelctl wishes, as soon as it does.
    pub(crate) fn wish(&self) -> InboxEntry {
        until(|| self.inbox().waiting(1).unwrap().into_iter().next())
    }

    /// What the dispatcher says of it.
    pub(crate) fn decided(&self, id: EventId, outcome: &str) {
        self.inbox().consume(id, outcome, self.now).unwrap();
    }
}

/// What is said, with its times left out.
pub(crate) fn timeless(said: &Said) -> String {
    let text = said.to_string();
    let words = text.split_inclusive(char::is_whitespace);
    let mut timeless = String::new();
    for word in words {
        let number = word.trim_end().parse::<f64>().is_ok() && timeless.ends_with("after ");
        timeless.push_str(if number { "N " } else { word });
    }
    timeless
}
