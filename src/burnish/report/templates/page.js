(() => {
  const specs = JSON.parse(document.getElementById("figures").textContent);
  const options = { actions: false, renderer: "svg", mode: "vega-lite", defaultStyle: true };
  for (const place of document.querySelectorAll("[data-figure]")) {
    vegaEmbed(place, specs[place.dataset.figure], options).catch((error) => {
      place.textContent = "This figure could not be drawn: " + error.message;
    });
  }
})();
