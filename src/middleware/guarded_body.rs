//! A body that ends when the token that let it in does.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{
    grpc::{self, Form},
    lease::Lease,
    response::RejectionBody,
};
use crate::rejection::{Rejection, RejectionKind};

pin_project! {
    /// A body that ends when the token that let its request in expires, or loses its key.
    ///
    /// This is what an [`EndStreamsLayer`](crate::EndStreamsLayer) makes of the bodies of requests
    /// and responses.
    pub struct GuardedBody<B> {
        // None once it was cut.
        #[pin]
        body: Option<B>,
        guard: Option<Guard>,
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

struct Guard {
    lease: Arc<Lease>,
    /// Wakes when the lease is over; made when there is something to wait for.
    run_out: Option<Pin<Box<dyn Future<Output = RejectionKind> + Send>>>,
    direction: Direction,
}

enum Direction {
    Request,
    Response(Answer),
}

struct Answer {
    form: Form,
    messages: Messages,
    /// Whether there was data already.
    has_begun: bool,
}

impl<B> GuardedBody<B> {
    /// One that is left as it is.
    pub(crate) const fn unguarded(body: B) -> Self {
        Self {
            body: Some(body),
            guard: None,
        }
    }

    pub(crate) fn request(body: B, lease: Arc<Lease>) -> Self
    where
        B: Body,
    {
        Self::guarded(body, lease, Direction::Request)
    }

    pub(crate) fn response(body: B, headers: &HeaderMap, lease: Arc<Lease>) -> Self
    where
        B: Body,
    {
        let direction = Direction::Response(Answer {
            form: Form::of_headers(headers),
            messages: Messages::default(),
            has_begun: false,
        });
        Self::guarded(body, lease, direction)
    }

    fn guarded(body: B, lease: Arc<Lease>, direction: Direction) -> Self
    where
        B: Body,
    {
        let guard = (!body.is_end_stream()).then_some(Guard {
            lease,
            run_out: None,
            direction,
        });
        Self {
            body: Some(body),
            guard,
        }
    }
}

impl<B> Body for GuardedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let polled = body.poll_frame(cx).map_err(Into::into);
        let Some(guard) = this.guard else {
            return polled;
        };
        match guard.judge(&polled, cx) {
            None => polled,
            Some(kind) => {
                let end = guard.cut(kind);
                this.body.set(None);
                Poll::Ready(Some(end))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Guard {
    /// Whether it is to be cut now, and for what.
    fn judge(
        &mut self,
        polled: &Poll<Option<Result<Frame<Bytes>, BoxError>>>,
        cx: &mut Context<'_>,
    ) -> Option<RejectionKind> {
        if let Direction::Response(answer) = &self.direction {
            if answer.messages.have_ended {
                return None;
            }
            // However the handler ends what it made of half a request, it ends for that.
            if let Some(kind) = self.lease.request_cut() {
                return Some(kind);
            }
        }
        let Poll::Ready(ready) = polled else {
            let lease = &self.lease;
            let run_out = self
                .run_out
                .get_or_insert_with(|| Box::pin(Arc::clone(lease).run_out()));
            return match run_out.as_mut().poll(cx) {
                Poll::Ready(kind) => Some(kind),
                Poll::Pending => None,
            };
        };
        // What ends by itself is not cut.
        let data = ready.as_ref()?.as_ref().ok()?.data_ref()?;
        if data.is_empty() {
            return None;
        }
        let over = self.lease.over();
        let Direction::Response(answer) = &mut self.direction else {
            return over;
        };
        let messages = answer.messages.after(answer.form, data);
        if over.is_none() || messages.have_ended {
            answer.messages = messages;
            answer.has_begun = true;
            return None;
        }
        if !answer.has_begun {
            // The answer to what was asked in time, in one piece; its end may take a moment more.
            answer.messages = messages;
            answer.has_begun = true;
            let linger = over.map(|kind| Arc::clone(&self.lease).linger(kind));
            self.run_out = linger.map(|linger| Box::pin(linger) as Pin<Box<_>>);
            return None;
        }
        over
    }

    /// The end of what is cut.
    fn cut(&self, kind: RejectionKind) -> Result<Frame<Bytes>, BoxError> {
        let Direction::Response(answer) = &self.direction else {
            return Err(self.lease.cut_request(kind).into());
        };
        let rejection = self.lease.cut(kind);
        match answer.form {
            Form::Grpc(_) => Ok(Frame::trailers(grpc::trailers(&rejection))),
            Form::GrpcWeb(_) if answer.messages.is_between() => {
                Ok(Frame::data(web_trailers(&rejection, answer.form)))
            }
            // Not an end like any other, or half of it would pass for the whole.
            Form::GrpcWeb(_) | Form::Http => Err(rejection.into()),
        }
    }
}

/// Where we are in the messages of a gRPC-Web body. In front of each are five bytes: flags, of which
/// the highest says that it is the last, with the trailers, and its length.
#[derive(Clone, Copy, Default)]
struct Messages {
    prefix: [u8; 5],
    /// How many bytes of the next prefix have passed.
    begun: usize,
    /// How many bytes of the message are to come.
    left: usize,
    have_ended: bool,
    is_lost: bool,
}

impl Messages {
    /// Where we are when `data` has passed; for other forms it does not matter.
    fn after(mut self, form: Form, data: &[u8]) -> Self {
        match form {
            Form::Http | Form::Grpc(_) => {}
            Form::GrpcWeb(_) if is_text(form) => match base64_simd::STANDARD.decode_to_vec(data) {
                Ok(data) => self.pass(&data),
                Err(_) => self.is_lost = true,
            },
            Form::GrpcWeb(_) => self.pass(data),
        }
        self
    }

    fn pass(&mut self, mut data: &[u8]) {
        while let Some((first, rest)) = data.split_first() {
            if self.left > 0 {
                let passed = self.left.min(data.len());
                self.left -= passed;
                data = data.get(passed..).unwrap_or_default();
                continue;
            }
            data = rest;
            if let Some(byte) = self.prefix.get_mut(self.begun) {
                *byte = *first;
            }
            self.begun += 1;
            if self.begun == self.prefix.len() {
                let [flags, length @ ..] = self.prefix;
                self.have_ended |= !self.is_lost && flags & 0x80 != 0;
                self.left = u32::from_be_bytes(length) as usize;
                self.begun = 0;
            }
        }
    }

    const fn is_between(&self) -> bool {
        !self.is_lost && self.left == 0 && self.begun == 0
    }
}

/// gRPC-Web has its trailers in the body, in a message of their own.
fn web_trailers(rejection: &Rejection, form: Form) -> Bytes {
    let mut block = Vec::new();
    for (name, value) in &grpc::trailers(rejection) {
        block.extend_from_slice(name.as_str().as_bytes());
        block.push(b':');
        block.extend_from_slice(value.as_bytes());
        block.extend_from_slice(b"\r\n");
    }
    let mut frame = vec![0x80];
    frame.extend_from_slice(&(block.len() as u32).to_be_bytes());
    frame.append(&mut block);
    if is_text(form) {
        base64_simd::STANDARD.encode_to_string(frame).into()
    } else {
        frame.into()
    }
}

fn is_text(form: Form) -> bool {
    matches!(form, Form::GrpcWeb(content_type) if content_type.contains("-text"))
}

impl<B: RejectionBody> RejectionBody for GuardedBody<B> {
    fn from_text(text: &'static str) -> Self {
        Self::unguarded(B::from_text(text))
    }
}

impl<B: Default> Default for GuardedBody<B> {
    fn default() -> Self {
        Self::unguarded(B::default())
    }
}

impl<B> fmt::Debug for GuardedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedBody").finish_non_exhaustive()
    }
}
