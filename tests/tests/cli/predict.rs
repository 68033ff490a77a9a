//! `bissl predict`.

use std::fs;

use crate::recorded::Desk;

#[test]
fn images_get_the_names_of_their_likeliest_classes() {
    let desk = Desk::new();
    desk.finetune("p", "f", &["--labels-per-class", "12", "--epochs", "30"]);
    let all = desk.succeed(&["predict", "--from", "f", "set/sky", "set/apple/03.png"]).stdout;
    let mut lines = all.lines();
    let heading = "file,class_1,probability_1,class_2,probability_2,class_3,probability_3";
    assert_eq!(lines.next(), Some(heading));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 21);
    assert_eq!(rows[0][0], "set/sky/00.png");
    assert_eq!(rows[20][0], "set/apple/03.png");
    for row in &rows {
        let sum: f64 = [2, 4, 6].map(|column| row[column].parse::<f64>().unwrap()).iter().sum();
        assert!((sum - 1.0).abs() < 1e-5, "{row:?}");
    }
    let sky = rows[..20].iter().filter(|row| row[1] == "sky").count();
    assert!(sky >= 18 && rows[20][1] == "apple", "{rows:?}");

    let words = ["predict", "--from", "f", "--json", "--top", "1", "set/apple/03.png"];
    let line = desk.succeed(&words).stdout;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["file"], "set/apple/03.png");
    assert_eq!(line["classes"][0]["class"], "apple");
    assert_eq!(line["classes"].as_array().unwrap().len(), 1);

    // A file that is written, and images that are not read.
    fs::write(desk.set().join("sky/00.png"), b"nothing").unwrap();
    let ended = desk.run(&["predict", "--from", "f", "set/sky", "--out", "sky.csv"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("set/sky/00.png"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(desk.path("sky.csv")).unwrap().lines().count(), 20);
    desk.refused(&["predict", "--from", "f", "set/sky/00.png"], &["set/sky/00.png"]);
    desk.refused(&["predict", "--from", "f", "nowhere"], &["nowhere"]);
    desk.refused(&["predict", "--from", "p", "set"], &["pretrain", "expected a fine-tuned run"]);

    // An older run: its outputs have numbers.
    fs::remove_file(desk.path("f").join("data.jsonl")).unwrap();
    let numbers = desk.succeed(&words).stdout;
    assert!(numbers.contains(r#""class":"0""#), "{numbers}");
}
