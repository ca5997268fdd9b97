//! Upgraded connections: bytes from one side to the other until one of them ends.
//!
//! Runs inside the client's connection task, so that it is counted, woken and closed like one.

use std::rc::Rc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};

use crate::upstream::Stream;
pub(crate) use crate::upstream::UpstreamEnd;
use crate::worker::Worker;

/// Per direction.
const BUFFER: usize = 16 << 10;

/// Copies both ways. `early` is what the client sent before it knew of the agreement.
pub(crate) async fn run<C>(worker: Rc<Worker>, mut client: C, early: Bytes, service: UpstreamEnd)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let _open = worker.counters.tunnel();
    let said = service.read_buf;
    let mut service: Stream = service.io.into_inner();
    // Either side may leave at any time and without a word; there is nobody to tell.
    let _ended = async {
        service.write_all(&early).await?;
        client.write_all(&said).await?;
        copy_bidirectional_with_sizes(&mut client, &mut service, BUFFER, BUFFER).await
    }
    .await;
}
