import re

from boggers.data.synthetic import stories


def test_the_seed_fixes_the_text() -> None:
    assert list(stories(2000, 1)) == list(stories(2000, 1))
    assert list(stories(2000, 1)) != list(stories(2000, 2))


def test_a_longer_text_begins_with_the_shorter_one() -> None:
    short, long = "".join(stories(500, 3)), "".join(stories(5000, 3))
    assert long.startswith(short.rstrip())


def test_there_are_as_many_words_as_asked_for() -> None:
    for words in (1, 300, 20_000):
        made = sum(len(story.split()) for story in stories(words, 4))
        assert words <= made < words + 30


def test_the_sentences_vary() -> None:
    sentences = re.split(r"(?<=\.)\s+", " ".join(stories(20_000, 5)).strip())
    assert len(set(sentences)) > 900
    assert len(set(sentences)) > 0.7 * len(sentences)
    assert all(sentence.lstrip("“")[0].isupper() for sentence in sentences)


def test_the_stories_are_clean_documents() -> None:
    for story in stories(3000, 6):
        assert story == story.strip() + "\n"
        assert "{" not in story
        assert "  " not in story
        assert story.rstrip()[-1] == "."
