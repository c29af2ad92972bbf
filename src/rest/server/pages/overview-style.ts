export const overviewStyle = `
main { max-width: 1120px; margin: 0 auto; padding: 28px 24px 48px; }
footer { text-align: center; padding: 0 0 32px; }
#hostname:not(:empty)::before { content: ''; border-left: 1px solid var(--line); margin-right: 12px; }
.dot { width: 7px; height: 7px; border-radius: 50%; background: currentColor; }
.login { max-width: 400px; margin: 10vh auto; padding: 28px; display: grid; gap: 8px; }
.login h1 { margin: 0; font-size: 22px; }
.login p { margin: 0 0 8px; }
.login button { margin-top: 8px; padding: 9px; }
[hidden] { display: none !important; }
.error { color: var(--bad); }
.card.error { padding: 12px 16px; margin: 0 0 12px; background: var(--bad-ground); border-color: transparent; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 14px; }
.tile { padding: 16px 18px; min-width: 0; }
.tile dt { font-size: 12.5px; color: var(--muted); }
.tile dd { margin: 2px 0 0; font-size: 24px; font-weight: 650; letter-spacing: -0.02em; }
.tile .note { font-size: 12.5px; color: var(--muted); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.meter { height: 5px; margin-top: 9px; border-radius: 3px; background: var(--raised); overflow: hidden; }
.meter i { display: block; height: 100%; border-radius: 3px; background: var(--accent); }
.head { display: flex; align-items: baseline; gap: 10px; margin: 32px 0 12px; }
.head h2 { margin: 0; font-size: 18px; }
.head input { width: 220px; margin-left: auto; padding: 6px 12px; }
.wide { overflow-x: auto; }
td { vertical-align: middle; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td .name { font-weight: 600; }
td .uuid { display: block; color: var(--muted); font-size: 11.5px; font-family: var(--mono); }
button, td.number, td:nth-child(6), td .uuid { white-space: nowrap; }
.actions { display: flex; gap: 6px; justify-content: flex-end; }
.empty { padding: 40px 24px; text-align: center; }
.empty h3 { margin: 0; }
.empty p { margin: 6px 0 14px; }
.empty pre { display: inline-block; margin: 0; padding: 10px 16px; border-radius: 8px; background: var(--raised); }
.events { list-style: none; margin: 0; padding: 6px 0; }
.events li { display: grid; grid-template-columns: 78px 110px 1fr; gap: 12px; align-items: baseline; padding: 6px 18px; font-size: 13.5px; }
.events #no-events { display: block; }
.events time { font-variant-numeric: tabular-nums; color: var(--muted); }
.bar-cell { display: inline-block; width: 54px; height: 5px; margin-left: 8px; border-radius: 3px; background: var(--raised); vertical-align: 2px; overflow: hidden; }
.bar-cell i { display: block; height: 100%; background: var(--accent); border-radius: 3px; }
tr.working { opacity: 0.6; }
@media (max-width: 720px) {
  main { padding: 20px 14px; }
  .head input { width: 140px; }
  th:nth-child(n+3):nth-child(-n+6), td:nth-child(n+3):nth-child(-n+6), td .uuid { display: none; }
  .actions { flex-wrap: wrap; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 10px; }
  .tile { padding: 12px 14px; }
  .tile dd { font-size: 20px; }
  th, td { padding: 9px 10px; }
  .events li { grid-template-columns: 70px 1fr; }
  .events li span:last-child { grid-column: 1 / -1; }
}
`
