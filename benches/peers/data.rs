//! Seeded conversations: the same words in every run and for every system.

use jiff::Timestamp;

/// The length of a message in bytes.
pub(crate) const MESSAGE: usize = 540;
/// How far apart turns are.
const TURN_SECONDS: i64 = 10;
const FIRST_SECOND: i64 = 1_760_000_000;
const SEED: u64 = 0x5eed_c4a7;
const LINE: usize = 80;

const VOCABULARY: usize = 30_000;
/// How many words of each planted sort there are.
const RARE: u64 = 64;
const MIDDLE: u64 = 64;
const COMMON: u64 = 8;
const PHRASES: u64 = 16;
/// In so many messages, out of all, a rare word stands.
pub(crate) const RARE_HITS: u64 = 20;

const EVERYDAY: &str = "the of to and in is that it for as with was on be by this are from or an \
    at not which but have has had they you were their one all we can her there been if more when \
    will would who so no out up into than them then its only some could time these two may first \
    other new any like my now over such our man me even most made after also did many before must \
    through years where much your way well down should because each just those people how too \
    little state good very make world still own see men work long get here between both life \
    being under never day same another know while last might us great old year off come since \
    against go came right used take three";

/// A small generator of random numbers (splitmix64).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

/// A request with its answer.
pub(crate) struct Turn {
    pub(crate) at: Timestamp,
    pub(crate) request: String,
    pub(crate) response: String,
}

/// A session that is written as a whole.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) turns: Vec<Turn>,
}

/// What a search asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A word that stands in 20 messages.
    Rare,
    /// A word that stands in one of 1,000 messages.
    Middle,
    /// A word that stands in every fifth message.
    Common,
    /// Both in one turn.
    RareCommon,
    /// Two words that stand one after the other in one of 500 messages, and apart in as many.
    Phrase,
    /// The beginning of some eight middle words.
    Prefix,
    /// A word that stands nowhere.
    NoHit,
}

impl Class {
    pub(crate) const ALL: [Self; 7] = [
        Self::Rare,
        Self::Middle,
        Self::Common,
        Self::RareCommon,
        Self::Phrase,
        Self::Prefix,
        Self::NoHit,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rare => "rare",
            Self::Middle => "middle",
            Self::Common => "common",
            Self::RareCommon => "rare + common",
            Self::Phrase => "phrase",
            Self::Prefix => "prefix",
            Self::NoHit => "no hit",
        }
    }

    /// A question of this class.
    pub(crate) fn question(self, rng: &mut Rng) -> Question {
        let rare = rare(rng.below(RARE));
        let (middle, common) = (middle(rng.below(MIDDLE)), common(rng.below(COMMON)));
        match self {
            Self::Rare => Question::word(rare),
            Self::Middle => Question::word(middle),
            Self::Common => Question::word(common),
            Self::RareCommon => {
                Question { text: format!("{rare} {common}"), needles: vec![rare, common] }
            }
            Self::Phrase => {
                let phrase = phrase(rng.below(PHRASES));
                Question { text: format!("\"{phrase}\""), needles: vec![phrase] }
            }
            Self::Prefix => {
                let beginning = middle.get(..4).unwrap_or(&middle).to_owned();
                Question { text: format!("{beginning}*"), needles: vec![beginning] }
            }
            Self::NoHit => Question::word(format!("wuz{}", syllables(rng.below(1 << 18)))),
        }
    }
}

/// What is asked for, as a person types it.
pub(crate) struct Question {
    pub(crate) text: String,
    /// For those who look through everything: what must stand in a message, as it is.
    pub(crate) needles: Vec<String>,
}

impl Question {
    pub(crate) fn word(word: String) -> Self {
        Self { text: word.clone(), needles: vec![word] }
    }

    /// Whether all of it stands in a text.
    pub(crate) fn fits(&self, text: &str) -> bool {
        self.needles.iter().all(|needle| text.contains(needle))
    }
}

/// A word that stands in [`RARE_HITS`] messages.
pub(crate) fn rare(number: u64) -> String {
    format!("zy{}", syllables(number + 64))
}

fn middle(number: u64) -> String {
    format!("qo{}", syllables(number + 64))
}

/// A word that stands in every fifth message.
fn common(number: u64) -> String {
    format!("xe{}", syllables(number + 64))
}

fn phrase(number: u64) -> String {
    format!("vo{0} ju{0}", syllables(number + 64))
}

/// A number as syllables that no two numbers share.
fn syllables(mut number: u64) -> String {
    const CONSONANTS: &[u8; 14] = b"bcdfghklmnprst";
    const VOWELS: &[u8; 4] = b"aeio";
    let mut word = String::new();
    loop {
        let digit = usize::try_from(number % 56).unwrap_or(0);
        word.push(char::from(CONSONANTS[digit / 4]));
        word.push(char::from(VOWELS[digit % 4]));
        number /= 56;
        if number == 0 {
            return word;
        }
    }
}

/// Words, the more frequent the earlier they stand, as in any language.
pub(crate) struct Data {
    words: Vec<String>,
    /// Up to which random number a word is meant.
    upto: Vec<u64>,
    /// How many messages there are in all, which says what is rare.
    messages: u64,
}

impl Data {
    pub(crate) fn new(messages: u64) -> Self {
        let mut words: Vec<String> = EVERYDAY.split_whitespace().map(str::to_owned).collect();
        let more = VOCABULARY.saturating_sub(words.len()) as u64;
        words.extend((0..more).map(|number| syllables(number + 3_136)));
        let mut sum = 0;
        let upto = (0..words.len() as u64)
            .map(|rank| {
                sum += (1 << 40) / (rank + 3);
                sum
            })
            .collect();
        Self { words, upto, messages: messages.max(RARE_HITS) }
    }

    fn word(&self, rng: &mut Rng) -> &str {
        let at = rng.below(self.upto.last().copied().unwrap_or(1));
        let rank = self.upto.partition_point(|upto| *upto <= at);
        self.words.get(rank).map_or("the", String::as_str)
    }

    /// The message of this number; the same whenever it is asked for.
    pub(crate) fn message(&self, number: u64) -> String {
        let mut rng = Rng::new(SEED ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        let planted = self.planted(&mut rng);
        let mut text = Writer::new();
        let code_at = if rng.below(4) == 0 { 30 } else { u64::MAX };
        let mut planted = planted.into_iter();
        let mut sentence = 8 + rng.below(7);
        for place in 0_u64.. {
            if text.out.len() > MESSAGE {
                break;
            }
            if place == code_at {
                text.code(self.word(&mut rng), rng.below(1 << 16));
            }
            // Every third word, so that all of them come before the end.
            let there = if place % 3 == 2 { planted.next() } else { None };
            match there {
                Some(planted) => text.word(&planted),
                None if rng.below(1_000) == 0 => {
                    text.word(&format!("\"{}\"", self.word(&mut rng)));
                }
                None => text.word(self.word(&mut rng)),
            }
            if place == sentence {
                text.out.push('.');
                text.begins = true;
                sentence = place + 8 + rng.below(7);
            }
        }
        text.out.truncate(MESSAGE);
        text.out
    }

    /// The known words that a message holds.
    fn planted(&self, rng: &mut Rng) -> Vec<String> {
        let mut planted: Vec<String> =
            (0..COMMON).filter(|_| rng.below(5) == 0).map(common).collect();
        let number = rng.below(1_000);
        planted.extend((number < MIDDLE).then(|| middle(number)));
        let number = rng.below(self.messages / RARE_HITS);
        planted.extend((number < RARE).then(|| rare(number)));
        let number = rng.below(500);
        if number < PHRASES {
            planted.push(phrase(number));
        } else if number < 2 * PHRASES {
            let both = phrase(number - PHRASES);
            planted.extend(both.split(' ').rev().map(str::to_owned));
        }
        planted
    }

    /// The turn of this number.
    pub(crate) fn turn(&self, number: u64) -> Turn {
        let second = FIRST_SECOND + i64::try_from(number).unwrap_or(0) * TURN_SECONDS;
        Turn {
            at: Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH),
            request: self.message(2 * number),
            response: self.message(2 * number + 1),
        }
    }

    /// A session of so many turns, the first of which has this number.
    pub(crate) fn session(&self, id: String, first: u64, turns: u64) -> Session {
        let title = format!("About {}", syllables(first + 64));
        let turns = (first..first + turns).map(|number| self.turn(number)).collect();
        Session { id, title, turns }
    }
}

/// Prose with a line break about every 80 characters.
struct Writer {
    out: String,
    line: usize,
    begins: bool,
}

impl Writer {
    fn new() -> Self {
        Self { out: String::with_capacity(MESSAGE + 200), line: 0, begins: true }
    }

    fn word(&mut self, word: &str) {
        if self.out.len() - self.line > LINE - word.len().min(LINE) {
            self.out.push('\n');
            self.line = self.out.len();
        } else if self.out.len() > self.line {
            self.out.push(' ');
        }
        if std::mem::take(&mut self.begins) {
            let mut letters = word.chars();
            self.out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            self.out.push_str(letters.as_str());
        } else {
            self.out.push_str(word);
        }
    }

    fn code(&mut self, name: &str, number: u64) {
        self.out.push_str(&format!(
            "\n```rust\nfn {name}(items: &[u32]) -> Option<usize> {{\n    \
             items.iter().position(|item| *item == {number})\n}}\n```\n"
        ));
        self.line = self.out.len();
    }
}
