/** What all pages look like; light and dark as the reader's system has it. */
export const style = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#f6f7fa, #10131a);
  --surface: light-dark(#ffffff, #181c25);
  --raised: light-dark(#f0f2f7, #212633);
  --line: light-dark(#e0e4ec, #2b3140);
  --text: light-dark(#1b2130, #e7eaf2);
  --muted: light-dark(#5b6578, #98a2b6);
  --accent: light-dark(#3455db, #8ba3ff);
  --on-accent: light-dark(#ffffff, #10131a);
  --good: light-dark(#12733f, #5fd39a);
  --good-ground: light-dark(#e1f5ea, #16352a);
  --warn: light-dark(#8a5300, #f2bd63);
  --warn-ground: light-dark(#fdf0d8, #3a2e16);
  --bad: light-dark(#b3261e, #ff9189);
  --bad-ground: light-dark(#fde8e6, #42201f);
  --calm: light-dark(#4c566a, #aab4c8);
  --calm-ground: light-dark(#e9ecf2, #262c39);
  --info: light-dark(#2347c5, #9db1ff);
  --info-ground: light-dark(#e6ebff, #212b4d);
  --mono: ui-monospace, 'SF Mono', 'Cascadia Mono', 'DejaVu Sans Mono', Menlo, Consolas, monospace;
  --sans: system-ui, -apple-system, 'Segoe UI', 'Inter', Roboto, 'DejaVu Sans', sans-serif;
}
* { box-sizing: border-box; }
html { scroll-padding-top: 72px; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 15px/1.55 var(--sans); -webkit-font-smoothing: antialiased;
}
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
code, pre, .mono { font-family: var(--mono); font-size: 0.88em; }
h1, h2, h3 { line-height: 1.25; letter-spacing: -0.01em; text-wrap: balance; }
.bar {
  position: sticky; top: 0; z-index: 5; display: flex; align-items: center; gap: 12px; height: 56px;
  padding: 0 24px; background: var(--surface); border-bottom: 1px solid var(--line);
}
.bar .sign { width: 28px; height: 28px; flex: none; }
.bar strong { font-size: 17px; letter-spacing: -0.02em; }
.bar .push { margin-left: auto; }
.muted { color: var(--muted); }
.small { font-size: 13px; }
.pill {
  display: inline-flex; align-items: center; gap: 6px; padding: 2px 10px; border-radius: 99px;
  font-size: 12.5px; font-weight: 600; white-space: nowrap;
  color: var(--calm); background: var(--calm-ground);
}
.pill.good { color: var(--good); background: var(--good-ground); }
.pill.warn { color: var(--warn); background: var(--warn-ground); }
.pill.bad { color: var(--bad); background: var(--bad-ground); }
.pill.info { color: var(--info); background: var(--info-ground); }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 12px; }
table { border-collapse: collapse; width: 100%; }
th {
  text-align: left; font-size: 12px; font-weight: 600; color: var(--muted);
  padding: 10px 16px; border-bottom: 1px solid var(--line); white-space: nowrap;
}
td { padding: 10px 16px; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
button, .button {
  font: inherit; font-size: 13px; font-weight: 600; padding: 5px 12px; border-radius: 8px; cursor: pointer;
  color: var(--text); background: var(--surface); border: 1px solid var(--line);
}
button:hover { background: var(--raised); }
button:disabled { opacity: 0.45; cursor: default; }
button.main { color: var(--on-accent); background: var(--accent); border-color: transparent; }
input {
  font: inherit; font-size: 14px; color: var(--text); background: var(--ground); width: 100%;
  padding: 8px 12px; border: 1px solid var(--line); border-radius: 8px;
}
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
`
