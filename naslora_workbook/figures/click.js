(where, [grid, at, masks, shares]) => {
  const box = where.firstElementChild, [, mask, star] = box.children, said = box.nextSibling;
  const show = () => {
    const i = at[1] * grid[0] + at[0];
    mask.src = 'data:image/png;base64,' + masks[i];
    star.style.left = 100 * (at[0] + .5) / grid[0] + '%';
    star.style.top = 100 * (at[1] + .5) / grid[1] + '%';
    said.textContent = 'Mask of ' + shares[i] + ' % of the photograph.';
  };
  const go = to => { at = to.map((v, k) => Math.min(grid[k] - 1, Math.max(0, v))); show(); };
  box.onclick = e => {
    const r = box.getBoundingClientRect();
    go([(e.clientX - r.left) / r.width, (e.clientY - r.top) / r.height]
      .map((share, k) => Math.floor(share * grid[k])));
  };
  box.onkeydown = e => {
    const turn = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    if (!turn[e.key]) return;
    e.preventDefault();
    go(at.map((v, k) => v + turn[e.key][k]));
  };
  show();
}
