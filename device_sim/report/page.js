"use strict";
// Draws the figures in the colours of the reader's theme, and again when the theme changes.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const themes = {
    light: {
      ink: "#16161a", soft: "#55545c", rule: "#e4e3e8", card: "#ffffff",
      p50: "#86b6ef", p95: "#2a78d6", p99: "#0d366b",
      c0: "#2a78d6", c1: "#eb6834", c2: "#1baf7a", c3: "#4a3aa7", c4: "#c98500", c5: "#e34948", c6: "#d35a8c", c7: "#3d7a12",
      waiting: "#c3c2b7", provisioning: "#86b6ef", connecting: "#2a78d6", connected: "#1baf7a",
      reconnecting: "#eda100", finished: "#898781", failed: "#e34948",
    },
    dark: {
      ink: "#f1f1f3", soft: "#b0afb8", rule: "#34343b", card: "#1d1d21",
      p50: "#256abf", p95: "#6da7ec", p99: "#cde2fb",
      c0: "#3987e5", c1: "#d95926", c2: "#199e70", c3: "#9085e9", c4: "#c98500", c5: "#e66767", c6: "#d55181", c7: "#6ba53a",
      waiting: "#5d5c63", provisioning: "#6da7ec", connecting: "#2a78d6", connected: "#199e70",
      reconnecting: "#c98500", finished: "#898781", failed: "#e66767",
    },
  };

  // "@name" is a colour of the theme, wherever it stands.
  const painted = (value, theme) => {
    if (typeof value === "string" && value[0] === "@") return theme[value.slice(1)];
    if (Array.isArray(value)) return value.map((each) => painted(each, theme));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, painted(each, theme)]));
  };

  const axis = (given, theme) => ({
    gridcolor: theme.rule, linecolor: theme.rule, zerolinecolor: theme.rule,
    automargin: true, fixedrange: true, tickangle: 0, ...given,
  });

  const draw = () => {
    const theme = dark.matches ? themes.dark : themes.light;
    for (const { key, data, layout } of figures) {
      const element = document.getElementById(key);
      const small = element.classList.contains("small");
      Plotly.react(element, painted(data, theme), {
        ...layout,
        paper_bgcolor: theme.card, plot_bgcolor: theme.card,
        font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: theme.soft },
        margin: { l: 8, r: 12, t: 8, b: 8 },
        showlegend: !small && data.length > 1,
        legend: { orientation: "h", x: 0, xanchor: "left", y: -0.12, yanchor: "top", yref: "paper" },
        hoverlabel: { bgcolor: theme.card, bordercolor: theme.rule, font: { color: theme.ink } },
        xaxis: axis(layout.xaxis, theme),
        yaxis: axis(layout.yaxis, theme),
      }, { displayModeBar: false });
    }
  };

  draw();
  const sizes = new ResizeObserver((entries) => entries.forEach((each) => Plotly.Plots.resize(each.target)));
  for (const { key } of figures) sizes.observe(document.getElementById(key));
  dark.addEventListener("change", draw);
})();
