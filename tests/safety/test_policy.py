"""When a card is due, when a pointer is enough, and what stays open."""

from hypothesis import given
from hypothesis import strategies as st

from ai_therapist.safety.crisis import CLEAR, About, Assessment, Category, Level
from ai_therapist.safety.policy import CALM_TURNS, Handoff, Watch


def found(level: Level, category: Category = Category.SUICIDE, about: About = About.SELF) -> Assessment:
    return Assessment(level=level, category=category, rule="SI-10", about=about)


findings = st.one_of(
    st.just(CLEAR),
    st.builds(
        found,
        st.sampled_from([Level.CONCERN, Level.RISK, Level.IMMINENT]),
        st.sampled_from(Category),
        st.sampled_from(About),
    ),
)


def walk(*messages: Assessment) -> list[Handoff]:
    watch, given_out = Watch(), []
    for message in messages:
        watch, handoff = watch.after(message)
        given_out.append(handoff)
    return given_out


def test_a_calm_conversation_carries_nothing() -> None:
    assert walk(CLEAR, CLEAR) == [Handoff.NOTHING, Handoff.NOTHING]


def test_the_first_finding_gets_the_card_the_next_a_pointer() -> None:
    assert walk(found(Level.RISK), found(Level.RISK)) == [Handoff.CARD, Handoff.POINTER]


def test_a_rising_level_and_another_danger_get_a_card_again() -> None:
    assert walk(found(Level.CONCERN), found(Level.RISK), found(Level.IMMINENT)) == [Handoff.CARD] * 3
    assert walk(found(Level.RISK), found(Level.RISK, Category.ABUSE)) == [Handoff.CARD, Handoff.CARD]


def test_an_open_risk_is_recalled_on_calm_messages_until_enough_of_them() -> None:
    handoffs = walk(found(Level.RISK), *[CLEAR] * (CALM_TURNS + 2))
    assert handoffs == [Handoff.CARD] + [Handoff.POINTER] * CALM_TURNS + [Handoff.NOTHING] * 2


def test_a_risk_stays_open_to_the_end_and_its_return_brings_the_card_again() -> None:
    watch, _ = Watch().after(found(Level.RISK))
    handoffs = []
    for _ in range(5 * CALM_TURNS):
        watch, handoff = watch.after(CLEAR)
        handoffs.append(handoff)
    assert watch.is_open
    assert handoffs[CALM_TURNS:].count(Handoff.POINTER) == 4, "recalled now and then"
    assert watch.after(found(Level.RISK))[1] is Handoff.CARD


def test_a_mere_concern_is_not_recalled() -> None:
    assert walk(found(Level.CONCERN), CLEAR, CLEAR) == [Handoff.CARD, Handoff.NOTHING, Handoff.NOTHING]


def test_concerns_add_up_to_a_risk_that_is_recalled() -> None:
    concern = found(Level.CONCERN)
    assert walk(concern, CLEAR, concern, concern, CLEAR) == [
        Handoff.CARD,
        Handoff.NOTHING,
        Handoff.POINTER,
        Handoff.CARD,
        Handoff.POINTER,
    ]


def test_concerns_about_others_and_those_before_a_calm_time_do_not_add_up() -> None:
    others = found(Level.CONCERN, about=About.OTHER)
    assert walk(*[others] * 4) == [Handoff.CARD] + [Handoff.POINTER] * 3
    concern = found(Level.CONCERN)
    handoffs = walk(concern, concern, *[CLEAR] * (CALM_TURNS + 1), concern)
    assert handoffs[-1] is Handoff.CARD
    watch = Watch()
    for message in (concern, concern, *[CLEAR] * (CALM_TURNS + 1), concern):
        watch, _ = watch.after(message)
    assert watch.open.level is Level.CONCERN


def test_an_imminent_risk_never_closes_by_itself() -> None:
    handoffs = walk(found(Level.IMMINENT), *[CLEAR] * (3 * CALM_TURNS))
    assert set(handoffs[1:]) == {Handoff.POINTER}


@given(st.lists(findings, max_size=30))
def test_every_message_at_risk_carries_a_card_or_pointer(messages: list[Assessment]) -> None:
    for message, handoff in zip(messages, walk(*messages), strict=True):
        assert not message.at_risk or handoff is not Handoff.NOTHING


@given(st.lists(findings, max_size=30))
def test_the_open_level_falls_only_to_none(messages: list[Assessment]) -> None:
    watch = Watch()
    for message in messages:
        before = watch.open.level
        watch, _ = watch.after(message)
        assert watch.open.level >= before or watch.open == CLEAR
