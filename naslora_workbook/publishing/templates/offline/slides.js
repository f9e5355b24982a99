// A page as slides: the button, the key s or ?slides begins; arrows, space and page keys turn, Home
// and End leap, Escape ends. A slide is a piece of prose with its code down to the first output; what
// was folded behind a prediction comes on the next slide, and imports are left out.
(() => {
  const all = [...document.querySelectorAll('main .jp-Cell')];
  const folds = [...document.querySelectorAll('details.result')];
  const main = document.querySelector('main'), place = document.querySelector('#place');
  const source = cell => cell.querySelector('.jp-InputArea')?.innerText ?? '';
  const output = cell => cell.querySelector('.jp-OutputArea-child');
  const slides = [];
  let at = 0, on = false, were = [];

  for (const cell of all) {
    const prose = cell.classList.contains('jp-MarkdownCell');
    if (!prose && !output(cell) && /^\s*(In.*\s+)?(import|from) /.test(source(cell))) continue;
    const hidden = cell.closest('details.result');
    const first = hidden && hidden.querySelector('.jp-Cell') === cell;
    const full = slides.length && slides.at(-1).some(output);
    if (!slides.length || prose || first || full) slides.push([]);
    slides.at(-1).push(cell);
  }

  const show = to => {
    at = Math.max(0, Math.min(slides.length - 1, to));
    all.forEach(cell => cell.classList.toggle('now', slides[at].includes(cell)));
    place.textContent = `${at + 1} / ${slides.length}`;
    main.style.zoom = 1;
    const fit = innerHeight * .95 / main.offsetHeight, wide = innerWidth * .97 / main.offsetWidth;
    main.style.zoom = Math.max(.7, Math.min(1.5, fit, wide));
    scrollTo(0, 0);
  };
  const begin = () => {
    const seen = slides.findIndex(slide => slide.at(-1).getBoundingClientRect().bottom > 0);
    were = folds.map(fold => fold.open);
    folds.forEach(fold => fold.open = true);
    on = true;
    document.body.classList.add('slides');
    show(seen);
  };
  const end = () => {
    on = false;
    document.body.classList.remove('slides');
    main.style.zoom = 1;
    folds.forEach((fold, i) => fold.open = were[i]);
    slides[at][0].scrollIntoView();
  };

  addEventListener('keydown', e => {
    if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey) return;
    if (on && e.key === 'Escape') return end();
    if (/^(INPUT|TEXTAREA|SELECT|SUMMARY|BUTTON)$/.test(e.target.tagName)) return;
    if (!on) return e.key === 's' ? begin() : undefined;
    const last = slides.length - 1;
    const to = {ArrowRight: at + 1, PageDown: at + 1, ' ': at + 1, ArrowLeft: at - 1,
      PageUp: at - 1, Home: 0, End: last}[e.key];
    if (to === undefined) return;
    e.preventDefault();
    show(to);
  });
  document.querySelectorAll('button.slides').forEach(b => b.onclick = () => { b.blur(); begin(); });
  document.addEventListener('toggle', e => {
    for (const plot of e.target.querySelectorAll('.js-plotly-plot'))
      if (plot.offsetParent) Plotly.Plots.resize(plot);
  }, true);
  addEventListener('beforeprint', () => folds.forEach(fold => fold.open = true));
  if (location.search === '?slides') begin();
})();
