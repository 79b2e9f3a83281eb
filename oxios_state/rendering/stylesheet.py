"""The style sheet of the HTML: light and dark themes, wide and narrow cells."""

from __future__ import annotations

from oxios_state.rendering.markup import Markup

_LIGHT = {"fg": "#1f2328", "dim": "#5c6570", "bg": "#ffffff", "user": "#0b62c4", "good": "#1a7f4b", "bad": "#c4252b"}
_DARK = {"fg": "#e6e8eb", "dim": "#9aa3ad", "bg": "#15181c", "user": "#6cb0ff", "good": "#4cc38a", "bad": "#ff8589"}
# The names of these colours in JupyterLab and VS Code. The other colours depend only on whether the theme is dark.
_THEMES = {
    "fg": ("jp-content-font-color1", "vscode-editor-foreground"),
    "dim": ("jp-content-font-color2", "vscode-descriptionForeground"),
    "bg": ("jp-layout-color0", "vscode-editor-background"),
}
# A page of JupyterLab, VS Code, Colab or Sphinx states its theme, which goes before the preference of the system.
_DARK_PAGE = (
    ":is(html[theme=dark],html[data-theme=dark],body[data-theme=dark],body[data-jp-theme-light=false],body.vscode-dark)"
)
_OPEN_PAGE = (
    "html:not([theme=light],[data-theme=light]) body:not([data-theme=light],[data-jp-theme-light=true],.vscode-light)"
)


def _variables(colours: dict[str, str]) -> str:
    declared = []
    for name, colour in colours.items():
        value = colour
        for theme_name in reversed(_THEMES.get(name, ())):
            value = f"var(--{theme_name},{value})"
        declared.append(f"--oxs-{name}:{value}")
    return ";".join(declared)


_RULES = """
.oxs{container-type:inline-size;max-width:1100px;box-sizing:border-box;padding:12px 14px;border-radius:8px;
border:1px solid rgba(128,128,128,.3);color:var(--oxs-fg);background:var(--oxs-bg);text-align:left;
font:14px/1.5 var(--jp-content-font-family,system-ui,-apple-system,"Segoe UI",sans-serif);
overflow-wrap:anywhere;unicode-bidi:isolate}
.oxs *{box-sizing:border-box}
.oxs-title{font-size:16px;font-weight:600;line-height:1.3}
.oxs-facts{display:flex;flex-wrap:wrap;gap:2px 14px;color:var(--oxs-dim);font-size:13px;margin:3px 0 8px}
.oxs-id,.oxs-call,.oxs pre.oxs-json,.oxs-code{
font:12.5px/1.5 var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace)}
.oxs summary{cursor:pointer;border-radius:4px}
.oxs summary:hover{background:rgba(128,128,128,.1)}
.oxs-turn{border-top:1px solid rgba(128,128,128,.25);padding:6px 0}
.oxs-turn>summary{color:var(--oxs-dim);font-size:13px}
.oxs-turn[open]>summary .oxs-peek{display:none}
.oxs-peek{color:var(--oxs-fg)}
.oxs-said{margin:6px 0 6px 4px;padding-left:10px;border-left:3px solid rgba(128,128,128,.4)}
.oxs-user{border-left-color:var(--oxs-user)}
.oxs-agent{border-left-color:var(--oxs-good)}
.oxs-by{display:flex;flex-wrap:wrap;gap:0 10px;font-size:12.5px;color:var(--oxs-dim)}
.oxs-by b{color:var(--oxs-fg)}
.oxs-user b{color:var(--oxs-user)}
.oxs-agent b{color:var(--oxs-good)}
.oxs-failed .oxs-by span:last-child{color:var(--oxs-bad)}
.oxs pre{margin:2px 0;padding:0;border:0;background:none;color:inherit;font:inherit;white-space:pre-wrap;
overflow-wrap:anywhere;unicode-bidi:plaintext}
.oxs pre.oxs-long{max-height:24em;overflow:auto}
.oxs-code{display:block;background:rgba(128,128,128,.12);border-radius:5px;padding:6px 9px;margin:4px 0;color:inherit}
.oxs pre.oxs-json{background:rgba(128,128,128,.1);border-radius:5px;padding:5px 8px;max-height:22em;overflow:auto}
.oxs-steps{margin:4px 0 4px 4px;padding-left:10px;border-left:3px dotted rgba(128,128,128,.45);font-size:13px}
.oxs-steps>summary{color:var(--oxs-dim)}
.oxs-step>summary{display:flex;gap:7px;align-items:baseline;padding:1px 4px}
.oxs-step>:not(summary){margin-left:22px}
.oxs-call{flex:1;min-width:0;max-height:3.2em;overflow:hidden}
.oxs-step[open] .oxs-call{max-height:none}
.oxs-num{color:var(--oxs-dim);white-space:nowrap;font-variant-numeric:tabular-nums;text-align:right}
.oxs-good{color:var(--oxs-good)}
.oxs-bad{color:var(--oxs-bad);font-weight:600}
.oxs-cut{color:var(--oxs-dim);font-style:italic;font-size:13px}
.oxs-left{padding:5px 8px;margin:6px 0;text-align:center;background:rgba(128,128,128,.1);border-radius:5px}
.oxs-dim{color:var(--oxs-dim)}
.oxs table{border-collapse:collapse;width:100%;margin:4px 0;font-size:13px;border:0;table-layout:auto}
.oxs th,.oxs td{text-align:left;padding:4px 8px 4px 0;vertical-align:top;border:0;
border-bottom:1px solid rgba(128,128,128,.2);background:none;color:inherit;white-space:normal}
.oxs th{font-weight:600;color:var(--oxs-dim)}
.oxs th{white-space:nowrap}
.oxs-narrow{display:none}
.oxs td.oxs-num,.oxs th.oxs-num{text-align:right}
.oxs-bar{height:7px;margin-top:6px;border-radius:3px;background:var(--oxs-user);opacity:.75;min-width:2px}
.oxs-svg{margin:6px 0}
.oxs-svg svg{display:block;overflow:hidden}
@container (max-width:560px){.oxs-wide{display:none}.oxs-narrow{display:inline}}
"""

STYLE = Markup(
    f"<style>.oxs{{{_variables(_LIGHT)}}}"
    f"@media (prefers-color-scheme:dark){{{_OPEN_PAGE} .oxs{{{_variables(_DARK)}}}}}"
    f"{_DARK_PAGE} .oxs{{{_variables(_DARK)}}}{_RULES}</style>"
)
"""The rules. Every output has them, because a notebook may be opened without running its first cell."""
