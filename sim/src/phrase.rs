//! Words and signs: what the small languages of scenarios are written in.

/// Why a text cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The first byte of the trouble.
    pub start: usize,
    /// The first byte after it.
    pub end: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// What distinguishes one language from another.
#[derive(Debug)]
pub(crate) struct Language {
    /// What a text is called in messages, with its article.
    pub whole: &'static str,
    /// Signs of one letter. Comparisons are signs in all of them.
    pub signs: &'static str,
    /// Letters of words besides letters and digits.
    pub word: &'static str,
    /// Whether there are texts, in single quotes.
    pub has_texts: bool,
}

/// A word, a sign, or a text with its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'t> {
    pub text: &'t str,
    pub start: usize,
    /// Whether it is a word.
    pub is_word: bool,
}

impl Token<'_> {
    pub(crate) fn error(&self, message: String, help: Option<&str>) -> ParseError {
        let end = self.start + self.text.len();
        ParseError { start: self.start, end, message, help: help.map(str::to_owned) }
    }
}

/// A text, word by word.
#[derive(Debug)]
pub(crate) struct Phrase<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
    length: usize,
    language: &'static Language,
}

impl<'t> Phrase<'t> {
    /// Takes a text apart.
    ///
    /// # Errors
    /// A letter that no word can have, or a text without an end.
    pub(crate) fn new(
        text: &'t str,
        language: &'static Language,
    ) -> Result<Phrase<'t>, ParseError> {
        let is_word = |letter: char| letter.is_alphanumeric() || language.word.contains(letter);
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(letter) = text[at..].chars().next() {
            let rest = &text[at..];
            let length = match letter {
                _ if letter.is_whitespace() => {
                    at += letter.len_utf8();
                    continue;
                }
                '<' | '>' | '=' | '!' => 1 + usize::from(rest[1..].starts_with('=')),
                '\'' if language.has_texts => match rest[1..].find('\'') {
                    Some(end) => end + 2,
                    None => {
                        let token = Token { text: rest, start: at, is_word: false };
                        return Err(token.error("cannot find the end of this text".into(), None));
                    }
                },
                _ if language.signs.contains(letter) => letter.len_utf8(),
                _ if is_word(letter) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
                _ => {
                    let text = &rest[..letter.len_utf8()];
                    let token = Token { text, start: at, is_word: false };
                    let message = format!("cannot read `{letter}` in {}", language.whole);
                    return Err(token.error(message, None));
                }
            };
            tokens.push(Token { text: &rest[..length], start: at, is_word: is_word(letter) });
            at += length;
        }
        Ok(Phrase { tokens, at: 0, length: text.len(), language })
    }

    /// Looks at the next one.
    pub(crate) fn peek(&self) -> Option<Token<'t>> {
        self.ahead(0)
    }

    /// Looks at one after the next.
    pub(crate) fn ahead(&self, nth: usize) -> Option<Token<'t>> {
        self.tokens.get(self.at + nth).copied()
    }

    /// Goes over the next one, which was looked at.
    pub(crate) fn skip(&mut self) {
        self.at += 1;
    }

    /// Goes back to the one that was read last.
    pub(crate) fn put_back(&mut self) {
        self.at -= 1;
    }

    /// Reads one if it is this.
    pub(crate) fn take(&mut self, text: &str) -> bool {
        let is_there = self.peek().is_some_and(|token| token.text == text);
        self.at += usize::from(is_there);
        is_there
    }

    /// Reads one.
    ///
    /// # Errors
    /// There is none; `wanted` is what should be here.
    pub(crate) fn next(&mut self, wanted: &str) -> Result<Token<'t>, ParseError> {
        let whole = self.language.whole.split_once(' ').map_or("text", |(_, noun)| noun);
        let token = self.peek().ok_or_else(|| ParseError {
            start: self.length,
            end: self.length,
            message: format!("cannot find {wanted}: the {whole} ends here"),
            help: None,
        })?;
        self.at += 1;
        Ok(token)
    }

    /// Reads one that must be this.
    ///
    /// # Errors
    /// It is another one, or there is none.
    pub(crate) fn expect(&mut self, text: &str) -> Result<(), ParseError> {
        let token = self.next(&format!("`{text}`"))?;
        if token.text == text {
            return Ok(());
        }
        Err(token.error(format!("cannot find `{text}`: here is `{}`", token.text), None))
    }

    /// Says that this is all.
    ///
    /// # Errors
    /// There is more.
    pub(crate) fn end(&self, help: Option<&str>) -> Result<(), ParseError> {
        match self.peek() {
            None => Ok(()),
            Some(token) => Err(token.error(format!("cannot read on at `{}`", token.text), help)),
        }
    }
}
