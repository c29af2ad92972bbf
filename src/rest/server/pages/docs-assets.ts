export const docsStyle = `
.columns { display: grid; grid-template-columns: 280px minmax(0, 860px); gap: 48px; max-width: 1240px; margin: 0 auto; padding: 0 24px; }
nav { position: sticky; top: 56px; height: calc(100vh - 56px); overflow-y: auto; padding: 20px 4px 40px 0; font-size: 13.5px; scrollbar-width: thin; }
nav h2 { margin: 18px 0 4px; font-size: 12px; color: var(--muted); letter-spacing: 0; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav a { display: block; padding: 3px 8px; border-radius: 6px; color: var(--text); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
nav a:hover { background: var(--raised); text-decoration: none; }
nav a.here { background: var(--info-ground); color: var(--info); }
nav .entry { display: flex; gap: 8px; align-items: center; font-family: var(--mono); font-size: 12px; }
nav .entry span:last-child { overflow: hidden; text-overflow: ellipsis; }
main { padding: 32px 0 120px; }
main > h1 { margin: 0 0 20px; font-size: 30px; }
section > h2 { margin: 56px 0 4px; font-size: 23px; }
h3 { margin: 26px 0 4px; font-size: 16px; }
h4 { margin: 18px 0 4px; font-size: 12.5px; color: var(--muted); }
.prose { margin: 4px 0; max-width: 72ch; }
:not(pre) > code { padding: 1px 4px; border-radius: 5px; background: var(--raised); }
.operation { padding: 18px 20px; margin: 16px 0; }
.operation:target { border-color: var(--accent); box-shadow: 0 0 0 3px var(--info-ground); }
.operation > header { display: flex; flex-wrap: wrap; align-items: center; gap: 10px; }
.operation > header .pill { margin-left: auto; }
.operation > header .pill + .pill { margin-left: 0; }
.operation > p { margin: 8px 0 0; }
.operation td { padding: 7px 12px 7px 0; }
.operation td:last-child { width: 50%; }
code.path { padding: 0; background: none; font-size: 14px; overflow-wrap: anywhere; }
code.path i { font-style: normal; color: var(--accent); }
.verb { display: inline-block; min-width: 44px; padding: 1px 7px; border-radius: 6px; text-align: center; font: 600 11.5px/1.6 var(--mono); color: var(--calm); background: var(--calm-ground); }
nav .verb { min-width: 40px; padding: 0 4px; font-size: 10px; flex: none; }
.verb.GET { color: var(--good); background: var(--good-ground); }
.verb.POST { color: var(--info); background: var(--info-ground); }
.verb.PUT { color: var(--warn); background: var(--warn-ground); }
.verb.DELETE { color: var(--bad); background: var(--bad-ground); }
.answers { list-style: none; margin: 0; padding: 0; }
.answers li { display: flex; gap: 10px; padding: 3px 0; }
.status { flex: none; width: 44px; font: 600 12.5px/1.8 var(--mono); color: var(--good); }
.status.bad { color: var(--bad); }
.required { color: var(--bad); margin-left: 2px; }
.wide { overflow-x: auto; }
details { margin-top: 14px; font-size: 13.5px; }
summary { cursor: pointer; color: var(--muted); width: max-content; }
pre { margin: 8px 0 0; padding: 12px 14px; border-radius: 8px; background: var(--raised); overflow-x: auto; }
tr:target td { background: var(--info-ground); }
[hidden] { display: none !important; }
@media (max-width: 860px) {
  .columns { display: block; padding: 0 16px; }
  nav { position: static; height: auto; max-height: 40vh; border-bottom: 1px solid var(--line); }
}
`

export const docsScript = `'use strict'
const find = document.getElementById('find')
const found = [...document.querySelectorAll('[data-find]')]
find.oninput = () => {
  const wanted = find.value.trim().toLowerCase()
  for (const element of found) element.hidden = !element.dataset.find.toLowerCase().includes(wanted)
}
document.addEventListener('keydown', (event) => {
  if (event.key === '/' && document.activeElement !== find) { event.preventDefault(); find.focus() }
})
const links = new Map([...document.querySelectorAll('nav a')].map((link) => [link.hash.slice(1), link]))
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue
    for (const link of links.values()) link.classList.remove('here')
    const link = links.get(target.id)
    link.classList.add('here')
    link.scrollIntoView({ block: 'nearest' })
  }
}, { rootMargin: '-70px 0px -75% 0px' })
for (const id of links.keys()) { const target = document.getElementById(id); if (target) seen.observe(target) }
`
