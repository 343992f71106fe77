//! Slow, broken, huge and many clients.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use socket2::SockRef;

use crate::{Agent, connect, end_of_request, get, look, rest, support};

/// The time for a head.
const HEAD: Duration = Duration::from_secs(2);
/// A load balancer's patience.
const PATIENCE: Duration = Duration::from_secs(1);

fn answered_quickly(agent: &Agent) {
    let begun = Instant::now();
    assert_eq!(agent.get("/health/fit").0, 200);
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[test]
fn a_slow_client_gets_two_seconds_and_keeps_nobody_waiting() {
    let agent = Agent::new();
    let mut slow = agent.connect();
    let begun = Instant::now();
    let mut bytes = b"GET /metrics HTTP/1.1\r\nA: ".iter().chain(std::iter::repeat(&b'a'));
    let mut others = 0;
    slow.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut answer = [0; 4096];
    let length = loop {
        // Fails after the end, when what is said is no longer wanted.
        let _ = slow.write(&[*bytes.next().unwrap()]);
        match slow.read(&mut answer) {
            Ok(length) => break length,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}")
            }
        }
        answered_quickly(&agent);
        others += 1;
        assert!(begun.elapsed() < crate::LONG, "it is never told to go");
    };
    assert!(begun.elapsed() >= HEAD, "{:?}", begun.elapsed());
    assert!(others > 5, "{others}");
    assert_eq!(crate::status(&String::from_utf8_lossy(&answer[..length])), 408);
}

#[test]
fn a_silent_client_is_closed() {
    let agent = Agent::new();
    let begun = Instant::now();
    assert_eq!(rest(&mut agent.connect()).unwrap(), "");
    assert!(begun.elapsed() >= HEAD, "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_has_said_all_gets_its_answer() {
    let agent = Agent::new();
    let mut stream = agent.connect();
    stream.write_all(b"GET /health/fit HTTP/1.0\r\n\r\n").unwrap();
    end_of_request(&stream);
    assert_eq!(crate::status(&rest(&mut stream).unwrap()), 200);

    let mut stream = agent.connect();
    stream.write_all(b"GET /health/fit HTT").unwrap();
    end_of_request(&stream);
    let answer = rest(&mut stream).unwrap();
    assert_eq!(crate::status(&answer), 400);
    assert!(answer.ends_with("the request ended before its head did\n"), "{answer}");
}

#[test]
fn a_megabyte_of_head_is_refused_and_the_refusal_arrives() {
    let agent = Agent::new();
    let mut head = b"GET /metrics HTTP/1.1\r\n".to_vec();
    while head.len() < 1024 * 1024 {
        head.extend_from_slice(b"Cookie: abcdefghijklmnopqrstuvwxyz\r\n");
    }
    let answer = agent.answer_to(&head);
    assert_eq!(crate::status(&answer), 431);
    // One that goes on sending after it was refused hears of it, too, and is not broken off.
    let endless = [b"GET /".as_slice(), &vec![b'a'; 1024 * 1024]].concat();
    let mut stream = agent.connect();
    stream.write_all(&endless[..16 * 1024]).unwrap();
    stream.peek(&mut [0]).unwrap();
    endless[16 * 1024..].chunks(64 * 1024).for_each(|chunk| stream.write_all(chunk).unwrap());
    end_of_request(&stream);
    assert_eq!(crate::status(&rest(&mut stream).unwrap()), 431);
}

#[test]
fn only_the_first_of_several_requests_is_answered() {
    let agent = Agent::new();
    let request = b"GET /health/fit HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = agent.answer_to(&request.repeat(100));
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1);
}

#[test]
fn clients_that_break_off_leave_nothing_behind() {
    let agent = Agent::new();
    for number in 0..200 {
        let mut stream = agent.connect();
        let bytes: &[u8] =
            if number % 2 == 0 { b"GET /metrics HTTP/1.1\r\n\r\n" } else { b"GET /metrics HTTP/1.1\r\nA" };
        stream.write_all(bytes).unwrap();
        // Its end is a reset, whatever is on its way.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    answered_quickly(&agent);
    assert!(agent.endpoints.alive());
}

#[test]
fn five_hundred_clients_make_room_for_one_more() {
    let agent = Agent::new();
    let mut many = Vec::new();
    for number in 0..500 {
        let mut stream = agent.connect();
        // The oldest may be gone by now, but not this one.
        stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
        many.push(stream);
        if number % 50 == 0 {
            answered_quickly(&agent);
        }
    }
    answered_quickly(&agent);
    // Who is dropped is told nothing; who has had its time is told so.
    let told =
        many.iter_mut().map(|stream| rest(stream).unwrap_or_default()).filter(|answer| !answer.is_empty());
    let told: Vec<u16> = told.map(|answer| crate::status(&answer)).collect();
    assert!(told.iter().all(|status| *status == 408), "{told:?}");
    assert!(told.len() < 100, "{} were kept until their time was over", told.len());
    answered_quickly(&agent);
}

#[test]
fn the_loop_goes_round_whatever_its_clients_do() {
    let agent = Agent::new();
    let end = Arc::new(AtomicBool::new(false));
    let attackers: Vec<thread::JoinHandle<()>> = [idle, shouting, babbling, breaking_off]
        .into_iter()
        .map(|attack| {
            let (end, address) = (Arc::clone(&end), agent.address());
            thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    attack(address);
                }
            })
        })
        .collect();
    // The loop: every ten milliseconds a look.
    let mut worst = Duration::ZERO;
    let begun = Instant::now();
    let mut last = begun;
    while begun.elapsed() < Duration::from_secs(3) {
        thread::sleep(Duration::from_millis(10));
        *agent.current.lock().unwrap() = Arc::new(look(&support::seen_by(1)));
        worst = worst.max(last.elapsed());
        last = Instant::now();
    }
    let honest = Instant::now();
    assert_eq!(get(agent.address(), "/health/fit").0, 200);
    let honest = honest.elapsed();
    end.store(true, Ordering::Relaxed);
    for attacker in attackers {
        attacker.join().unwrap();
    }
    assert!(worst < PATIENCE, "the loop was held up for {worst:?}");
    assert!(honest < 2 * PATIENCE, "a load balancer waited for {honest:?}");
    assert!(agent.endpoints.alive());
}

fn idle(address: SocketAddr) {
    let streams: Vec<TcpStream> = (0..40).map(|_| connect(address)).collect();
    thread::sleep(Duration::from_millis(20));
    drop(streams);
}

fn shouting(address: SocketAddr) {
    // Whether it is heard to its end is the agent's choice.
    let _ = connect(address).write_all(&vec![b'a'; 1024 * 1024]);
}

fn babbling(address: SocketAddr) {
    let noise: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let mut stream = connect(address);
    let _ = stream.write_all(&noise);
    let _ = rest(&mut stream);
}

fn breaking_off(address: SocketAddr) {
    let mut stream = connect(address);
    let _ = stream.write_all(b"GET /status.json HTTP/1.1\r\n\r\n");
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

#[test]
fn noise_is_answered_with_a_refusal_or_not_at_all() {
    let agent = Agent::new();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) };
    proptest!(config, |(noise in proptest::collection::vec(any::<u8>(), 0..2048))| {
        let mut stream = agent.connect();
        stream.write_all(&noise).unwrap();
        end_of_request(&stream);
        let answer = rest(&mut stream).unwrap();
        prop_assert!(answer.is_empty() || matches!(crate::status(&answer), 400 | 404 | 405 | 431), "{answer}");
    });
    answered_quickly(&agent);
}
