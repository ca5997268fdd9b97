//! Where the frames of a WebSocket begin and end (RFC 6455 §5.2), as its bytes pass by.
//!
//! Looks at heads and counts payloads: nothing is held, unmasked or changed. It is what tells where
//! the router may put in a frame of its own.

/// Follows one direction of a WebSocket.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    stage: Stage,
    is_close: bool,
    is_masked: bool,
    /// Bytes of the payload that are still to come.
    left: u64,
    closed: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before a frame.
    #[default]
    Begin,
    /// Behind its first byte.
    Length,
    /// Within a longer length: so many bytes of it are still to come.
    LongLength(u8),
    /// Within the mask.
    Mask(u8),
    Payload,
}

/// The opcode of a frame after which there is none (RFC 6455 §5.5.1).
const CLOSE: u8 = 8;

impl Frames {
    /// Whether one frame has ended and the next has not begun.
    pub(crate) fn is_between(&self) -> bool {
        self.stage == Stage::Begin
    }

    /// Whether the last of all frames has passed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Follows these bytes. How many of them are those up to the last frame's end in them; none if
    /// no frame ends there.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        let mut last_end = None;
        while let Some((&byte, behind)) = rest.split_first() {
            if self.stage == Stage::Payload {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                rest = rest.get(here..).unwrap_or_default();
                self.left -= here as u64;
                if self.left == 0 {
                    self.stage = Stage::Begin;
                }
            } else {
                rest = behind;
                self.step(byte);
            }
            if self.is_between() {
                self.closed |= self.is_close;
                last_end = Some(bytes.len() - rest.len());
            }
        }
        last_end
    }

    /// One byte of a head.
    fn step(&mut self, byte: u8) {
        self.stage = match self.stage {
            Stage::Begin => {
                self.is_close = byte & 0xf == CLOSE;
                Stage::Length
            }
            Stage::Length => {
                self.is_masked = byte & 0x80 != 0;
                self.left = 0;
                match byte & 0x7f {
                    126 => Stage::LongLength(2),
                    127 => Stage::LongLength(8),
                    length => {
                        self.left = length.into();
                        self.behind_length()
                    }
                }
            }
            Stage::LongLength(missing) => {
                self.left = self.left << 8 | u64::from(byte);
                if missing > 1 { Stage::LongLength(missing - 1) } else { self.behind_length() }
            }
            Stage::Mask(1) => self.behind_head(),
            Stage::Mask(missing) => Stage::Mask(missing - 1),
            Stage::Payload => Stage::Payload,
        };
    }

    fn behind_length(&self) -> Stage {
        if self.is_masked { Stage::Mask(4) } else { self.behind_head() }
    }

    fn behind_head(&self) -> Stage {
        if self.left > 0 { Stage::Payload } else { Stage::Begin }
    }
}

/// The longest that [`going_away`] is.
pub(crate) const LAST_WORD: usize = 8;

/// The frame that closes a WebSocket because an end of it goes away (RFC 6455 §7.4.1): 1001. Towards
/// a service it is masked, as all that comes from clients is.
pub(crate) fn going_away(mask: Option<u32>) -> Vec<u8> {
    const REASON: [u8; 2] = 1001_u16.to_be_bytes();
    let mut frame = vec![0x80 | CLOSE];
    match mask.map(u32::to_be_bytes) {
        None => {
            frame.push(2);
            frame.extend_from_slice(&REASON);
        }
        Some(mask) => {
            frame.push(0x80 | 2);
            frame.extend_from_slice(&mask);
            frame.extend(REASON.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a payload of so many bytes.
    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        let mask_bit = if masked { 0x80 } else { 0 };
        match length {
            0..=125 => frame.push(mask_bit | u8::try_from(length).unwrap()),
            126..=65535 => {
                frame.push(mask_bit | 126);
                frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask_bit | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend_from_slice(&[1, 2, 3, 4]);
        }
        frame.extend(std::iter::repeat_n(0x88, length));
        frame
    }

    #[test]
    fn every_shape_of_a_frame_ends_where_it_ends() {
        for masked in [false, true] {
            for length in [0, 1, 125, 126, 127, 65535, 65536, 70000] {
                let bytes = frame(2, masked, length);
                let mut frames = Frames::default();
                assert_eq!(frames.follow(&bytes), Some(bytes.len()), "{length} {masked}");
                assert!(frames.is_between() && !frames.is_closed());
                // And in pieces of any size.
                let mut frames = Frames::default();
                for (at, byte) in bytes.iter().enumerate() {
                    let end = frames.follow(&[*byte]);
                    assert_eq!(end.is_some(), at + 1 == bytes.len(), "{length} {masked} {at}");
                }
            }
        }
    }

    #[test]
    fn the_last_end_of_several_counts() {
        let two = [frame(1, false, 3), frame(9, false, 0)].concat();
        let mut bytes = two.clone();
        bytes.extend_from_slice(&frame(2, false, 100)[..50]);
        let mut frames = Frames::default();
        assert_eq!(frames.follow(&bytes), Some(two.len()));
        assert!(!frames.is_between());
        assert_eq!(frames.follow(&[0; 51]), None);
        assert_eq!(frames.follow(&[0; 1]), Some(1));
    }

    #[test]
    fn after_a_close_frame_there_is_none() {
        for masked in [false, true] {
            let mut frames = Frames::default();
            let bytes = frame(8, masked, 2);
            frames.follow(&bytes[..3]);
            assert!(!frames.is_closed());
            frames.follow(&bytes[3..]);
            assert!(frames.is_closed());
        }
        let mut frames = Frames::default();
        frames.follow(&frame(8, false, 0));
        assert!(frames.is_closed());
    }

    #[test]
    fn its_own_last_word_is_a_close_frame() {
        assert_eq!(going_away(None), [0x88, 2, 0x03, 0xe9]);
        let masked = going_away(Some(0x0102_0304));
        assert_eq!(masked, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]);
        assert!(masked.len() <= LAST_WORD);
        for bytes in [going_away(None), masked] {
            let mut frames = Frames::default();
            assert_eq!(frames.follow(&bytes), Some(bytes.len()));
            assert!(frames.is_closed());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_pieces_end_alike(bytes: Vec<u8>, cut: proptest::sample::Index) {
            let mut whole = Frames::default();
            let end = whole.follow(&bytes);
            let at = cut.index(bytes.len() + 1);
            let (one, other) = bytes.split_at(at);
            let mut pieces = Frames::default();
            let first = pieces.follow(one);
            let second = pieces.follow(other).map(|end| at + end);
            proptest::prop_assert_eq!(end, second.or(first));
            proptest::prop_assert_eq!(whole.is_closed(), pieces.is_closed());
        }
    }
}
