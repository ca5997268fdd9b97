//! Form bodies: the JSON in the field `payload`.
//!
//! Of its own because a lossy decoder would change bytes that a signature covers.

/// The form does not hold exactly one payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormError {
    /// There is no field `payload`.
    NoPayload,
    /// There are several, and which of them was signed or meant is anyone's guess.
    SeveralPayloads,
}

/// The decoded bytes of the one field `payload`
/// (application/x-www-form-urlencoded as the URL standard reads it).
pub(crate) fn payload(form: &[u8]) -> Result<Vec<u8>, FormError> {
    let mut payload = None;
    for field in form.split(|byte| *byte == b'&') {
        let name_len = field.iter().position(|byte| *byte == b'=').unwrap_or(field.len());
        let (name, value) = field.split_at(name_len);
        if !decoded(name).eq(b"payload".iter().copied()) {
            continue;
        }
        if payload.replace(value.strip_prefix(b"=").unwrap_or(value)).is_some() {
            return Err(FormError::SeveralPayloads);
        }
    }
    payload.map(|value| decoded(value).collect()).ok_or(FormError::NoPayload)
}

fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (byte, tail) = match rest {
            [b'%', tail @ ..] => escaped(tail).unwrap_or((b'%', tail)),
            [b'+', tail @ ..] => (b' ', tail),
            [byte, tail @ ..] => (*byte, tail),
            [] => return None,
        };
        rest = tail;
        Some(byte)
    })
}

fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, tail) = text.split_first_chunk::<2>()?;
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    Some((u8::from_be_bytes(byte), tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_payload() {
        assert_eq!(payload(b"payload=%7B%22a+b%22%3A1%7D").unwrap(), br#"{"a b":1}"#);
        assert_eq!(payload(b"x=1&payload=a&y").unwrap(), b"a");
        assert_eq!(payload(b"p%61yload=a=b").unwrap(), b"a=b");
        assert_eq!(payload(b"payload=%zz%4").unwrap(), b"%zz%4");
        assert_eq!(payload(b"payload=%ff").unwrap(), b"\xff");
        assert_eq!(payload(b"payload").unwrap(), b"");
        assert_eq!(payload(b""), Err(FormError::NoPayload));
        assert_eq!(payload(b"{\"ref\":1}"), Err(FormError::NoPayload));
        assert_eq!(payload(b"payload=a&payload=a"), Err(FormError::SeveralPayloads));
        assert_eq!(payload(b"payload=a&%70ayload=b"), Err(FormError::SeveralPayloads));
    }

    proptest! {
        #[test]
        fn reads_what_others_write(text in any::<String>()) {
            let form = form_urlencoded::Serializer::new(String::new())
                .append_pair("other", &text)
                .append_pair("payload", &text)
                .finish();
            prop_assert_eq!(payload(form.as_bytes()).unwrap(), text.into_bytes());
        }

        #[test]
        fn agrees_with_the_url_standard(form in "[a-z%+&=0-9A-F]{0,40}") {
            let expected: Vec<_> = form_urlencoded::parse(form.as_bytes())
                .filter(|(name, _)| name == "payload")
                .collect();
            match payload(form.as_bytes()) {
                Ok(own) => prop_assert_eq!(&String::from_utf8_lossy(&own), &expected[0].1),
                Err(FormError::NoPayload) => prop_assert!(expected.is_empty()),
                Err(FormError::SeveralPayloads) => prop_assert!(expected.len() > 1),
            }
        }
    }
}
