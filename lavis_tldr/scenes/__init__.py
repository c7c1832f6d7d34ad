"""The embedded default: scenes that the project draws itself, with captions and the truth about them.

Vocabulary, layout, captions and drawing are a module each; ``sets`` writes them as sources.
"""

from lavis_tldr.scenes.sets import Truth, draw_clean_set, draw_scenes

__all__ = ["Truth", "draw_clean_set", "draw_scenes"]
