"""``python -m lavis_tldr`` is the ``lavis-tldr`` command."""

from lavis_tldr.cli import main

raise SystemExit(main())
