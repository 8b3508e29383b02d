"""The streaming job: agent.* topics → Delta tables and agent.monitor.frontend.

Start with `spark-submit jobs/streaming/monitor.py`, ./spark-submit.sh, or `agentmon up`.
"""

from __future__ import annotations

import argparse
import sys

from agentmon.errors import AgentmonError
from agentmon.settings import Settings
from agentmon.stream.session import begin_session


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="go on where Kafka has dropped offsets that were never read; the gap stays on record",
    )
    parser.add_argument(
        "--accept-new-topics",
        action="store_true",
        help="go on with topics that were deleted and made anew, beside the rows of the old ones",
    )
    arguments = parser.parse_args()
    try:
        settings = Settings.from_env()
    except AgentmonError as error:
        sys.stderr.write(f"agentmon: {error}\n")
        return int(error.exit_code)
    session = begin_session()
    # Meanwhile: importing all of the job takes half a second to a second.
    from agentmon.stream.job import Options, run

    return run(settings, Options(arguments.accept_loss, arguments.accept_new_topics), session)


if __name__ == "__main__":
    sys.exit(main())
