use super::*;

fn several() -> Headers {
    Headers::new().with("streamType", "data").with("port", "8080").with("requestID", "0").with("x", "a").with("x", "b")
}

#[test]
fn names_are_found_in_any_case() {
    let headers = several();
    assert_eq!((headers.get("streamtype"), headers.get("StreamType"), headers.get("none")), (Some("data"), Some("data"), None));
    assert_eq!(Headers::from_block(&headers.to_block()).unwrap(), headers);
}

#[test]
fn blocks_survive_compression_one_after_the_other() {
    let (mut compressor, mut decompressor) = (Compressor::new().unwrap(), Decompressor::new(64 << 10));
    for round in 0..50 {
        let headers = several().with("round", round.to_string()).with("long", "x".repeat(round * 300));
        let compressed = compressor.compress(&headers).unwrap();
        if round == 0 {
            assert!(
                compressed.starts_with(&[0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]) || compressed.get(2..6) == Some(&[0xe3, 0xc6, 0xa7, 0xc2])
            );
        }
        assert_eq!(decompressor.decompress(&compressed).unwrap(), headers);
    }
    let empty = compressor.compress(&Headers::new()).unwrap();
    assert_eq!(decompressor.decompress(&empty).unwrap(), Headers::new());
}

#[test]
fn a_bomb_is_found_before_it_is_large() {
    let headers = Headers::new().with("bomb", "0".repeat(2_000_000));
    let compressed = Compressor::new().unwrap().compress(&headers).unwrap();
    assert!(compressed.len() < 20_000, "{}", compressed.len());
    assert_eq!(Decompressor::new(64 << 10).decompress(&compressed), Err(HeaderError::TooLong(64 << 10)));
}

#[test]
fn what_is_no_block_is_refused() {
    let good = several().to_block();
    for cut in 0..good.len() {
        assert_eq!(Headers::from_block(&good[..cut]), Err(HeaderError::Malformed), "{cut}");
    }
    let twice = [&[0, 0, 0, 2][..], &[0, 0, 0, 1, b'a', 0, 0, 0, 0], &[0, 0, 0, 1, b'A', 0, 0, 0, 0]].concat();
    let nameless = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let huge = [0xff; 64];
    for block in [&twice[..], &nameless, &huge, &[good, vec![0]].concat()] {
        assert_eq!(Headers::from_block(block), Err(HeaderError::Malformed));
    }
    let mut decompressor = Decompressor::new(1024);
    assert_eq!(decompressor.decompress(b"not zlib at all"), Err(HeaderError::Compression));
    assert!(Decompressor::new(1024).decompress(&[]).is_err());
    let compressed = Compressor::new().unwrap().compress(&several()).unwrap();
    assert!(Decompressor::new(1024).decompress(&compressed[..compressed.len() / 2]).is_err());
}
