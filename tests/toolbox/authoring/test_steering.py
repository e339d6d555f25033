"""Tools about the session itself, and scripts explained in it."""

import pytest

from tests.toolbox.authoring.conftest import Talk
from toolbox.errors import DraftInvalid, Forbidden, NoDatabase, NoDraft

SWALLOWS = {
    "name": "tell",
    "steps": [
        {
            "type": "command",
            "name": "mail",
            "command": "send_email",
            "args": {"to": "a@example.com", "subject": "s", "body": "b"},
        }
    ],
}


def test_another_database_is_meant_from_now_on(talk: Talk) -> None:
    assert talk.call("switch_database", database="shop") == {"database": "shop"}
    assert talk.session.database == "shop"


@pytest.mark.parametrize("name", ["nothing", "system"])
def test_only_a_database_that_is_there_can_be_meant(talk: Talk, name: str) -> None:
    with pytest.raises(NoDatabase) as refused:
        talk.call("switch_database", database=name)
    assert refused.value.hint == "there are shop"
    assert talk.session.database != name


def test_verbose_is_set_and_told(talk: Talk) -> None:
    assert talk.call("set_verbose", on=True) == {"verbose": True}
    assert talk.call("set_verbose") == {"verbose": True}
    assert talk.call("set_verbose", on=False) == {"verbose": False}


def test_mocks_are_listed_with_what_they_give(talk: Talk) -> None:
    assert talk.call("list_mocks") == {"mocks": {}, "all": False}
    talk.call("mock_tool", tool="send_email")
    assert talk.call("list_mocks") == {"mocks": {"send_email": None}, "all": False}


def test_the_draft_and_what_is_published_are_explained(talk: Talk) -> None:
    with pytest.raises(NoDraft):
        talk.call("outline_script")
    talk.call("create_script", **SWALLOWS)
    told = talk.call("outline_script")
    assert told["name"] == "tell"
    assert "1." in told["outline"] and "a@example.com" in told["outline"]
    talk.resources.library.save(SWALLOWS)
    assert talk.call("outline_script", name="tell") == told
    review = talk.call("review_script", name="tell")
    assert review["name"] == "tell"
    assert "send_email" in str(review)


def test_what_is_no_script_yet_is_said_to_be_none(talk: Talk) -> None:
    talk.call("create_script", name="tell", steps=[{"type": "nothing"}])
    with pytest.raises(DraftInvalid, match="no step type 'nothing'") as raised:
        talk.call("outline_script")
    assert raised.value.details["problems"][0]["pointer"] == "/steps/0/type"


def test_a_script_that_may_not_be_read_is_not_explained(talk: Talk) -> None:
    talk.resources.library.save(SWALLOWS)
    talk.access = talk.access.__class__("k2", "other", ())
    for tool in ("outline_script", "review_script"):
        with pytest.raises(Forbidden):
            talk.call(tool, name="tell")


def test_a_saved_script_is_explained_and_tried_though_the_open_draft_is_gone(talk: Talk) -> None:
    talk.resources.library.save(SWALLOWS)
    talk.call("create_script", name="other")
    drafts = talk.resources.services.drafts
    assert drafts is not None and talk.session.draft is not None
    drafts.delete(talk.session.draft, None)
    assert talk.call("outline_script", name="tell")["name"] == "tell"
    assert talk.call("dry_run", script="tell")["script"] == "tell"
    with pytest.raises(NoDraft, match="has been deleted"):
        talk.call("outline_script")
